using Iced.Intel;

namespace Panacea.Kernel.Replay;

/// <summary>What all replays of one crash have in common: memory does not change meanwhile, so that its pages are read, and its code is decoded, once.</summary>
/// <remarks>Not safe for concurrent use. Bounded by <see cref="MaxPages"/> and <see cref="MaxInstructions"/>; what is beyond that is not kept.</remarks>
public sealed class ReplayCache
{
    /// <summary>Bounds on what is kept.</summary>
    public const int MaxPages = 1024, MaxInstructions = 32768;

    private readonly Dictionary<ulong, ReplayPage> _pages = [];
    private readonly Dictionary<ulong, Instruction> _instructions = [];

    /// <summary>A page by the address of its first byte, or, of a process's memory, of its second.</summary>
    internal bool TryPage(ulong start, out ReplayPage page) => _pages.TryGetValue(start, out page);

    internal void Keep(ulong start, in ReplayPage page)
    {
        if (_pages.Count < MaxPages)
            _pages.TryAdd(start, page);
    }

    internal bool TryInstruction(ulong ip, out Instruction instruction) => _instructions.TryGetValue(ip, out instruction);

    internal void Keep(in Instruction instruction)
    {
        if (_instructions.Count < MaxInstructions)
            _instructions.TryAdd(instruction.IP, instruction);
    }
}

/// <summary>A page as it is in the guest.</summary>
/// <param name="Bytes">What it holds.</param>
/// <param name="IsWritable">It may be written to.</param>
/// <param name="IsExecutable">It may be executed.</param>
internal readonly record struct ReplayPage(byte[] Bytes, bool IsWritable, bool IsExecutable);
