using System.Diagnostics;
using Panacea.Formats.Vmcore;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Sessions.Dumping;

/// <summary>How far a dump is.</summary>
/// <param name="DoneBytes">Bytes of the file that are done; holes count.</param>
/// <param name="TotalBytes">Bytes of the whole file.</param>
/// <param name="Elapsed">Since its beginning.</param>
public readonly record struct DumpProgress(long DoneBytes, long TotalBytes, TimeSpan Elapsed)
{
    /// <summary>0 to 100.</summary>
    public int Percent => TotalBytes == 0 ? 100 : (int)(DoneBytes * 100.0 / TotalBytes);

    /// <summary>Millions of bytes a second.</summary>
    public double MegabytesPerSecond => Elapsed > TimeSpan.Zero ? DoneBytes / 1e6 / Elapsed.TotalSeconds : 0;
}

/// <summary>What came of a dump.</summary>
public sealed record DumpSummary
{
    /// <summary>Bytes of the file.</summary>
    public required long FileBytes { get; init; }

    /// <summary>Bytes of it that were written; the rest are holes, for pages of zeros, that take no room on the disk.</summary>
    public required long WrittenBytes { get; init; }

    /// <summary>Bytes of RAM that the guest has.</summary>
    public required long MemoryBytes { get; init; }

    /// <summary>What was left out in the end, by makedumpfile's bits.</summary>
    public required PageFilterLevel Level { get; init; }

    /// <summary>Pages that were left out.</summary>
    public required PageCounts LeftOut { get; init; }

    /// <summary>Why nothing was left out though it was asked for; null where all is well.</summary>
    public string? WhyWhole { get; init; }

    /// <summary>Microseconds that it took.</summary>
    public required long TookUs { get; init; }
}

/// <summary>Dumps a guest that stands still: an ELF core of its memory, without the pages that a filter leaves out, with the registers of its vCPUs and its kernel's VMCOREINFO.</summary>
public static class CoreDump
{
    private const int Chunk = 1 << 20, Page = 4096;

    /// <summary>Between two reports of progress.</summary>
    private static readonly TimeSpan Step = TimeSpan.FromMilliseconds(200);

    /// <summary>Writes the dump. The guest must stand still until this returns.</summary>
    /// <param name="kernel">The kernel, over the guest's own memory.</param>
    /// <param name="vcpus">Registers of all vCPUs.</param>
    /// <param name="level">What is to be left out.</param>
    /// <param name="output">Where to.</param>
    /// <param name="progress">Told how far it is: at the beginning, now and then, at the end.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="cancel">Ends it.</param>
    /// <exception cref="GuestMemoryException">Memory that there is can't be read: the guest is gone.</exception>
    /// <exception cref="IOException">It can't be written.</exception>
    /// <exception cref="OperationCanceledException">It was ended.</exception>
    public static DumpSummary Write(
        LinuxKernel kernel, IReadOnlyList<VcpuRegisters> vcpus, PageFilterLevel level, IDumpOutput output, Action<DumpProgress> progress, TargetLimits limits, CancellationToken cancel)
    {
        long started = Stopwatch.GetTimestamp(), told = started;
        IGuestMemory memory = kernel.Space.Memory;
        PageFilter filter = PageFilter.Read(kernel, level, vcpus, limits, cancel);
        List<CoreSegment> segments = Segments(memory.Ranges, filter.Runs);
        var core = new ElfCoreWriter(segments, Notes(kernel, vcpus), DirectMap(kernel));
        output.Require(core.Length);
        output.Write(0, core.Head());
        long at = core.MemoryOffset, written = at;
        progress(new DumpProgress(0, core.Length, TimeSpan.Zero));
        byte[] buffer = new byte[Chunk];
        bool holes = (filter.Level & PageFilterLevel.Zero) != 0;
        foreach (CoreSegment segment in segments)
        {
            for (ulong done = 0; done < segment.FileBytes;)
            {
                cancel.ThrowIfCancellationRequested();
                Span<byte> bytes = buffer.AsSpan(0, (int)Math.Min(Chunk, segment.FileBytes - done));
                if (!memory.TryRead(new PhysicalAddress(segment.Physical + done), bytes, out MemoryFault fault))
                    throw new GuestMemoryException(fault, "the memory to dump");
                written += WriteOut(output, at, bytes, holes);
                at += bytes.Length;
                done += (ulong)bytes.Length;
                if (Stopwatch.GetElapsedTime(told) < Step)
                    continue;
                told = Stopwatch.GetTimestamp();
                progress(new DumpProgress(at, core.Length, Stopwatch.GetElapsedTime(started)));
            }
        }

        output.SetLength(core.Length);
        TimeSpan took = Stopwatch.GetElapsedTime(started);
        progress(new DumpProgress(core.Length, core.Length, took));
        return new DumpSummary
        {
            FileBytes = core.Length, WrittenBytes = written, MemoryBytes = (long)memory.Ranges.Aggregate(0UL, (sum, r) => sum + r.Length), Level = filter.Level, LeftOut = filter.Pages,
            WhyWhole = filter.WhyNot, TookUs = (long)took.TotalMicroseconds,
        };
    }

    /// <summary>Runs of memory, each with what is left out at its end.</summary>
    internal static List<CoreSegment> Segments(IReadOnlyList<PhysicalRange> ranges, IReadOnlyList<LeftOutRun> leftOut)
    {
        var segments = new List<CoreSegment>();
        int next = 0;
        foreach (PhysicalRange range in ranges)
        {
            ulong at = range.Start.Value, end = range.End.Value;
            for (; next < leftOut.Count && leftOut[next].First * Page < end; next++)
            {
                ulong first = leftOut[next].First * Page, past = leftOut[next].End * Page;
                segments.Add(new CoreSegment(at, first - at, past - at));
                at = past;
            }

            if (at < end)
                segments.Add(new CoreSegment(at, end - at, end - at));
        }

        return segments;
    }

    /// <returns>Bytes written.</returns>
    private static long WriteOut(IDumpOutput output, long at, ReadOnlySpan<byte> bytes, bool holes)
    {
        if (!holes)
        {
            output.Write(at, bytes);
            return bytes.Length;
        }

        long written = 0;
        int from = 0;
        while (from < bytes.Length)
        {
            int past = from;
            while (past < bytes.Length && bytes[past..Math.Min(past + Page, bytes.Length)].ContainsAnyExcept((byte)0))
                past = Math.Min(past + Page, bytes.Length);
            if (past > from)
                output.Write(at + from, bytes[from..past]);
            written += past - from;
            from = Math.Min(past + Page, bytes.Length);
        }

        return written;
    }

    private static byte[] Notes(LinuxKernel kernel, IReadOnlyList<VcpuRegisters> vcpus)
    {
        CoreNotes notes = new CoreNotes().AddCpus([.. vcpus.Select(Registers)]);
        return (kernel.Image.Meta.VmcoreInfo is { Length: > 0 } text ? notes.AddVmcoreInfo(text) : notes).Build();
    }

    private static CoreRegisters Registers(VcpuRegisters vcpu)
    {
        var registers = new CoreRegisters
        {
            [UserRegister.Rip] = vcpu.Rip, [UserRegister.Rflags] = vcpu.Rflags, [UserRegister.Cs] = vcpu.Cs, [UserRegister.FsBase] = vcpu.FsBase, [UserRegister.GsBase] = vcpu.GsBase,
            [UserRegister.OrigRax] = ulong.MaxValue, KernelGsBase = vcpu.Knows(RegisterGroups.KernelGsBase) ? vcpu.KernelGsBase : null,
        };
        foreach ((Gpr from, UserRegister to) in General)
            registers[to] = vcpu.Gpr[from];
        if (vcpu.Knows(RegisterGroups.Control | RegisterGroups.SegmentBases))
            registers.SetControl(vcpu.Cr0, vcpu.Cr2, vcpu.Cr3, vcpu.Cr4);
        return registers;
    }

    private static ulong DirectMap(LinuxKernel kernel)
    {
        try
        {
            return AddressLayout.Read(kernel).PageOffset;
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            return 0;
        }
    }

    private static readonly (Gpr From, UserRegister To)[] General =
    [
        (Gpr.Rax, UserRegister.Rax), (Gpr.Rcx, UserRegister.Rcx), (Gpr.Rdx, UserRegister.Rdx), (Gpr.Rbx, UserRegister.Rbx), (Gpr.Rsp, UserRegister.Rsp), (Gpr.Rbp, UserRegister.Rbp),
        (Gpr.Rsi, UserRegister.Rsi), (Gpr.Rdi, UserRegister.Rdi), (Gpr.R8, UserRegister.R8), (Gpr.R9, UserRegister.R9), (Gpr.R10, UserRegister.R10), (Gpr.R11, UserRegister.R11),
        (Gpr.R12, UserRegister.R12), (Gpr.R13, UserRegister.R13), (Gpr.R14, UserRegister.R14), (Gpr.R15, UserRegister.R15),
    ];
}
