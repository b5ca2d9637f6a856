namespace Panacea.Target.Dump;

/// <summary>A file that can't be used as a dump. The message says why, in one sentence for a person.</summary>
public sealed class DumpException(string message) : TargetException(message);
