namespace Panacea.Cli;

/// <summary>What the process exits with; documented in docs/exit-codes.md and in every <c>--help</c>. Never renumbered.</summary>
internal static class ExitCodes
{
    /// <summary>Done.</summary>
    public const int Ok = 0;

    /// <summary>Something on this host failed: a file, the disk, a missing package; or the demo or a benchmark did not reach its end.</summary>
    public const int Failure = 1;

    /// <summary>The command line was wrong.</summary>
    public const int Usage = 2;

    /// <summary>The guest or its QEMU: not there, no QMP, no Linux, already guarded.</summary>
    public const int Target = 3;

    /// <summary>A repair image is damaged, of another format, or of another kernel.</summary>
    public const int Image = 4;

    /// <summary>What was asked for does not exist in the guest: no such symbol or type.</summary>
    public const int NotFound = 5;

    /// <summary><c>check</c> found something broken in the guest.</summary>
    public const int Broken = 6;

    /// <summary>A bug in Panacea (EX_SOFTWARE of sysexits.h).</summary>
    public const int Bug = 70;

    /// <summary>Interrupted by SIGINT or SIGTERM before it was done; <c>guard</c>, which is ended this way, exits with <see cref="Ok"/>.</summary>
    public const int Interrupted = 130;

    /// <summary>The reader of standard output closed its end, as <c>head</c> does: the code that a shell shows for SIGPIPE. Said without a word.</summary>
    public const int BrokenPipe = 141;
}
