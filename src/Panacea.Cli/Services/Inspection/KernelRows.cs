namespace Panacea.Cli.Services.Inspection;

/// <summary>One loaded module.</summary>
/// <param name="Name">Name.</param>
/// <param name="Base">Address of its text.</param>
/// <param name="Bytes">Bytes of all its memory.</param>
/// <param name="State">live, coming, going, unformed.</param>
/// <param name="Taint">Taint letters it brings; empty where none.</param>
internal sealed record ModuleRow(string Name, ulong Base, long Bytes, string State, string Taint)
{
    /// <summary>Address of its struct module.</summary>
    public ulong Address { get; init; }
}

/// <summary>One line of the kernel log.</summary>
/// <param name="TimestampNs">Nanoseconds since boot.</param>
/// <param name="Level">Log level, 0 to 7.</param>
/// <param name="Text">The line.</param>
internal sealed record LogRow(long TimestampNs, int Level, string Text);

/// <summary>VMCOREINFO.</summary>
/// <param name="Text">As the kernel exports it, KEY=VALUE lines.</param>
/// <param name="Values">The same by key.</param>
internal sealed record VmcoreInfoAnswer(string Text, IReadOnlyDictionary<string, string> Values);

/// <summary>One symbol.</summary>
/// <param name="Name">Name.</param>
/// <param name="Address">Address, of this boot.</param>
/// <param name="Size">Bytes to the next symbol; 0 where unknown.</param>
/// <param name="Kind">Letter as nm prints it.</param>
/// <param name="Module">Module, or null for the kernel.</param>
internal sealed record SymbolRow(string Name, ulong Address, long Size, string Kind, string? Module);

/// <summary>One type.</summary>
/// <param name="Name">Name with its keyword.</param>
/// <param name="Bytes">Size.</param>
/// <param name="C">The type as C, with offsets in comments.</param>
internal sealed record TypeText(string Name, long Bytes, string C);
