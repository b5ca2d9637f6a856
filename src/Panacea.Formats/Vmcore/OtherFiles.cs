using System.Buffers.Binary;

namespace Panacea.Formats.Vmcore;

/// <summary>Files that a person may take for a dump, told by their marks, and what to do about each.</summary>
internal static class OtherFiles
{
    /// <summary>Bytes at a file's start within which all marks lie.</summary>
    public const int LookBytes = 0x8010;

    private const string Virsh = "make a dump with 'virsh dump --memory-only' (QEMU: dump-guest-memory) instead", Image = "a dump is of memory, as 'virsh dump --memory-only' makes it", Unpack = "unpack it first";

    /// <summary>Marks at an offset.</summary>
    private static readonly (int At, byte[] Mark, string What)[] Marks =
    [
        // What a whole machine was saved in. 'virsh dump' without --memory-only stores QEMU's migration stream as it is, 'virsh save' behind a header of libvirt's (src/qemu/qemu_saveimage.h).
        (0, [.. "QEVM"u8], $"a QEMU migration stream, as 'virsh dump' without --memory-only and savevm write it; {Virsh}"),
        (0, [.. "LibvirtQemudSave"u8], "a machine that libvirt saved; restore it with 'virsh restore --paused', then make a dump with 'virsh dump --memory-only'"),
        (0, [.. "LibvirtQemudPart"u8], "a machine that libvirt saved, and did not finish saving; make a dump with 'virsh dump --memory-only'"),
        (0, [0xd0, 0xbe, 0xd0, 0xbe], Vmware), (0, [0xd0, 0xbe, 0xd2, 0xbe], Vmware), (0, [0xd1, 0xbe, 0xd1, 0xbe], Vmware), (0, [0xd2, 0xbe, 0xd2, 0xbe], Vmware),
        (0, [0xd3, 0xbe, 0xd3, 0xbe], Vmware), (0, [0xd1, 0xba, 0xd1, 0xba], Vmware),
        (0, [.. "DISKDUMP"u8], "a diskdump of a kernel before kdump, which is not read"),
        (0, [.. "EMiL"u8], "a LiME image; make a raw one (format=raw)"),
        (0, [.. "PAGEDU64"u8], "a Windows crash dump"), (0, [.. "PAGEDUMP"u8], "a Windows crash dump"), (0, [.. "MDMP"u8], "a Windows minidump"),

        // Disks.
        (0, [.. "QFI"u8, 0xfb], $"a qcow2 disk image; {Image}"), (0, [.. "QED\0"u8], $"a QED disk image; {Image}"), (0, [.. "KDMV"u8], $"a VMDK disk image; {Image}"),
        (0, [.. "# Disk DescriptorFile"u8], $"the description of a VMDK disk image; {Image}"), (0, [.. "<<< Oracle VM"u8], $"a VirtualBox disk image; {Image}"),
        (0, [.. "vhdxfile"u8], $"a VHDX disk image; {Image}"), (0, [.. "conectix"u8], $"a VHD disk image; {Image}"), (0, [.. "LUKS"u8, 0xba, 0xbe], $"an encrypted disk; {Image}"),
        (0, [.. "XFSB"u8], $"a disk with XFS on it; {Image}"), (0, [.. "hsqs"u8], $"a squashfs image; {Image}"), (512, [.. "EFI PART"u8], $"the image of a partitioned disk; {Image}"),
        (0x218, [.. "LVM2 001"u8], $"the image of an LVM volume; {Image}"), (0x8001, [.. "CD001"u8], $"the image of a CD; {Image}"),

        // What is packed.
        (0, [0x1f, 0x8b], $"compressed with gzip; {Unpack}"), (0, [0xfd, .. "7zXZ"u8], $"compressed with xz; {Unpack}"), (0, [0x28, 0xb5, 0x2f, 0xfd], $"compressed with zstd; {Unpack}"),
        (0, [.. "BZh"u8], $"compressed with bzip2; {Unpack}"), (0, [0x04, 0x22, 0x4d, 0x18], $"compressed with lz4; {Unpack}"), (0, [0x89, .. "LZO\0"u8], $"compressed with lzop; {Unpack}"),
        (0, [.. "PK"u8, 3, 4], $"a zip archive; {Unpack}"), (0, [.. "7z"u8, 0xbc, 0xaf, 0x27, 0x1c], $"a 7z archive; {Unpack}"), (257, [.. "ustar"u8], $"a tar archive; {Unpack}"),
    ];

    /// <summary>VMware's state files, in the versions that there have been; memory is in a .vmem file beside them, or in them.</summary>
    private const string Vmware = "a VMware snapshot or suspended machine (.vmsn, .vmss); turn it into an ELF core with VMware's vmss2core first, or give the .vmem file beside it";

    /// <summary>What a file is that begins like this; completes "this is …". Null where no mark is known.</summary>
    public static string? Recognize(ReadOnlySpan<byte> start)
    {
        foreach ((int at, byte[] mark, string what) in Marks)
        {
            if (start.Length >= at + mark.Length && start[at..].StartsWith(mark))
                return what;
        }

        if (IsExt(start))
            return $"a disk with ext4 on it; {Image}";
        return IsPartitioned(start) ? $"the image of a partitioned disk; {Image}" : null;
    }

    /// <summary>A superblock of ext2 to ext4 at 1024: its magic, and a size of blocks and a revision that there are (fs/ext4/ext4.h, struct ext4_super_block). Of a memory image, the BIOS data area is there.</summary>
    private static bool IsExt(ReadOnlySpan<byte> start) =>
        start.Length >= 0x450 && BinaryPrimitives.ReadUInt16LittleEndian(start[0x438..]) == 0xef53 && BinaryPrimitives.ReadUInt32LittleEndian(start[0x418..]) <= 6
        && BinaryPrimitives.ReadUInt32LittleEndian(start[0x44c..]) <= 1;

    /// <summary>A boot sector with a table of partitions that makes sense: its signature, four entries that are active or not, one of them in use. Of a memory image, the BIOS's vectors are there.</summary>
    private static bool IsPartitioned(ReadOnlySpan<byte> start)
    {
        const int table = 446, entry = 16;
        if (start.Length < 512 || start[510] != 0x55 || start[511] != 0xaa)
            return false;
        bool used = false;
        for (int i = 0; i < 4; i++)
        {
            ReadOnlySpan<byte> partition = start.Slice(table + (i * entry), entry);
            if ((partition[0] & 0x7f) != 0)
                return false;
            used |= partition[4] != 0 && BinaryPrimitives.ReadUInt32LittleEndian(partition[12..]) != 0;
        }

        return used;
    }
}
