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
    /// <summary>A raw image has no mark of its own. What is shorter than this holds no kernel either.</summary>
    private const long MinRawBytes = 4 << 20;

    /// <summary>Files that a person may take for a dump, and what to do about each.</summary>
    private static readonly (byte[] Magic, string What)[] Others =
    [
        ([.. "DISKDUMP"u8], "a diskdump of a kernel before kdump, which is not read"),
        ([.. "QEVM"u8], "a QEMU migration or savevm stream; make a dump with dump-guest-memory instead"),
        ([.. "LibvirtQemudSave"u8], "a libvirt save file; restore it and make a dump with 'virsh dump --memory-only'"),
        ([.. "LibvirtQemudPart"u8], "an incomplete libvirt save file"),
        ([.. "EMiL"u8], "a LiME image; make a raw one (format=raw)"),
        ([.. "PAGEDU64"u8], "a Windows crash dump"),
        ([.. "PAGEDUMP"u8], "a Windows crash dump"),
        ([.. "QFI"u8, 0xfb], "a qcow2 disk image"),
        ([0x1f, 0x8b], "compressed with gzip; unpack it first"),
        ([0xfd, .. "7zXZ"u8], "compressed with xz; unpack it first"),
        ([0x28, 0xb5, 0x2f, 0xfd], "compressed with zstd; unpack it first"),
        ([.. "BZh"u8], "compressed with bzip2; unpack it first"),
        ([.. "PK"u8, 3, 4], "a zip archive; unpack it first"),
    ];

    /// <summary>Tells the kind.</summary>
    /// <param name="file">The file.</param>
    /// <param name="kind">The kind.</param>
    /// <param name="whyNot">What it is instead, where the result is false; completes "this is …".</param>
    /// <returns>False where it is known to be something else, or too short to be a memory image.</returns>
    public static bool TryDetect(IDumpBytes file, out DumpKind kind, out string whyNot)
    {
        Span<byte> start = stackalloc byte[16];
        start = start[..file.Read(0, start)];
        whyNot = "";
        kind = start.StartsWith((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F']) ? DumpKind.Elf
            : start.StartsWith("KDUMP   "u8) ? DumpKind.Kdump
            : start.StartsWith("makedumpfile"u8) ? DumpKind.Flattened
            : DumpKind.Raw;
        if (kind != DumpKind.Raw)
            return true;
        foreach ((byte[] magic, string what) in Others)
        {
            if (start.StartsWith(magic))
            {
                whyNot = what;
                return false;
            }
        }

        if (file.Length < MinRawBytes)
            whyNot = file.Length == 0 ? "an empty file" : "neither an ELF core nor a kdump-compressed dump, and too short for a memory image";
        return whyNot.Length == 0;
    }
}
