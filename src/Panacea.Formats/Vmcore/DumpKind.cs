namespace Panacea.Formats.Vmcore;

/// <summary>What a dump file is, by its content.</summary>
public enum DumpKind
{
    /// <summary>An ELF core: QEMU's dump-guest-memory, <c>virsh dump --memory-only</c>, a copy of /proc/vmcore, <c>makedumpfile -E</c>.</summary>
    Elf,

    /// <summary>kdump-compressed: makedumpfile, QEMU's dump-guest-memory with a kdump format.</summary>
    Kdump,

    /// <summary>One of the two, as the stream of writes that makes it (<c>makedumpfile -F</c>, QEMU's kdump formats).</summary>
    Flattened,

    /// <summary>Guest memory and nothing else.</summary>
    Raw,
}

/// <summary>Tells what a dump file is from its first bytes.</summary>
public static class DumpDetector
{
    /// <summary>Bytes at a file's start by which it is told.</summary>
    public const int LookBytes = OtherFiles.LookBytes;

    /// <summary>A raw image has no mark of its own. What is shorter than this holds no kernel either.</summary>
    private const long MinRawBytes = 4 << 20;

    private const int MarkBytes = 16;

    /// <summary>Tells the kind.</summary>
    /// <param name="file">The file.</param>
    /// <param name="kind">The kind.</param>
    /// <param name="whyNot">What it is instead, where the result is false; completes "this is …".</param>
    /// <returns>False where it is known to be something else, or too short to be a memory image.</returns>
    public static bool TryDetect(IDumpBytes file, out DumpKind kind, out string whyNot)
    {
        whyNot = "";
        Span<byte> mark = stackalloc byte[MarkBytes];
        if (TryDetect(mark[..file.Read(0, mark)], out kind))
            return true;
        byte[] start = new byte[LookBytes];
        if (OtherFiles.Recognize(start.AsSpan(0, file.Read(0, start))) is { } other)
            whyNot = other;
        else if (file.Length < MinRawBytes)
            whyNot = file.Length == 0 ? "an empty file" : "neither an ELF core nor a kdump-compressed dump, and too short for a memory image";
        return whyNot.Length == 0;
    }

    /// <summary>True where a file that begins like this bears the mark of a dump, or of something else that holds a machine or packs one: it is no text then, however much of it looks so.</summary>
    /// <param name="start">Its first <see cref="LookBytes"/>, or all that there are.</param>
    public static bool IsMarked(ReadOnlySpan<byte> start) => TryDetect(start, out _) || OtherFiles.Recognize(start) is not null;

    private static bool TryDetect(ReadOnlySpan<byte> start, out DumpKind kind)
    {
        kind = start.StartsWith((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F']) ? DumpKind.Elf
            : start.StartsWith("KDUMP   "u8) ? DumpKind.Kdump
            : start.StartsWith("makedumpfile\0"u8) ? DumpKind.Flattened
            : DumpKind.Raw;
        return kind != DumpKind.Raw;
    }
}
