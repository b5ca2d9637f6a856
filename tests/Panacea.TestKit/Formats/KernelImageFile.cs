using System.Buffers.Binary;
using System.IO.Compression;
using System.Text;

namespace Panacea.TestKit.Formats;

/// <summary>A section of a vmlinux.</summary>
/// <param name="Address">Link-time address.</param>
/// <param name="Bytes">Its content.</param>
public readonly record struct VmlinuxSection(ulong Address, ReadOnlyMemory<byte> Bytes);

/// <summary>The vmlinux inside a distribution's vmlinuz (Documentation/arch/x86/boot.rst): real bytes for tests of parsers.</summary>
public sealed class KernelImageFile
{
    private readonly Dictionary<string, VmlinuxSection> _sections = [];

    private KernelImageFile(string path, byte[] vmlinux)
    {
        Path = path;
        Vmlinux = vmlinux;
        ReadSections();
    }

    /// <summary>Where the vmlinuz came from.</summary>
    public string Path { get; }

    /// <summary>The unpacked ELF file.</summary>
    public ReadOnlyMemory<byte> Vmlinux { get; }

    /// <summary>Its sections that have content, by name.</summary>
    public IReadOnlyDictionary<string, VmlinuxSection> Sections => _sections;

    /// <summary>The vmlinuz files that this machine has: under PANACEA_TEST_KERNELS, or the product's cache.</summary>
    public static IReadOnlyList<string> Find()
    {
        string cache = Environment.GetEnvironmentVariable("XDG_CACHE_HOME") is { Length: > 0 } xdg
            ? xdg : System.IO.Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".cache");
        string root = Environment.GetEnvironmentVariable("PANACEA_TEST_KERNELS") is { Length: > 0 } given
            ? given : System.IO.Path.Combine(cache, "panacea");
        if (!Directory.Exists(root))
            return [];
        var options = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, MaxRecursionDepth = 8 };
        return [.. Directory.EnumerateFiles(root, "vmlinuz-*", options).DistinctBy(System.IO.Path.GetFileName).Order(StringComparer.Ordinal)];
    }

    /// <summary>Unpacks a vmlinuz.</summary>
    /// <exception cref="InvalidDataException">Not a bzImage, or compressed in a way that is not known here.</exception>
    public static KernelImageFile Open(string path)
    {
        byte[] image = File.ReadAllBytes(path);
        if (image.Length < 0x260 || BinaryPrimitives.ReadUInt32LittleEndian(image.AsSpan(0x202)) != 0x53726448)
            throw new InvalidDataException($"{path} is not a bzImage");
        int setup = (image[0x1f1] == 0 ? 4 : image[0x1f1]) + 1;
        int offset = setup * 512 + BinaryPrimitives.ReadInt32LittleEndian(image.AsSpan(0x248));
        int length = BinaryPrimitives.ReadInt32LittleEndian(image.AsSpan(0x24c));
        return new KernelImageFile(path, Decompress(image.AsSpan(offset, length)));
    }

    private static byte[] Decompress(ReadOnlySpan<byte> payload)
    {
        // The last four bytes are the unpacked size, appended by the kernel's build for every method but gzip, which has it there anyway.
        int size = BinaryPrimitives.ReadInt32LittleEndian(payload[^4..]);
        byte[] output = new byte[size];
        switch (BinaryPrimitives.ReadUInt32LittleEndian(payload))
        {
            case 0xfd2fb528:
                using (var zstd = new ZstdSharp.DecompressionStream(new MemoryStream(payload[..^4].ToArray())))
                    zstd.ReadExactly(output);
                return output;
            case 0x184c2102:
                Lz4Legacy(payload[..^4], output);
                return output;
            case var magic when (magic & 0xffff) == 0x8b1f:
                using (var gzip = new GZipStream(new MemoryStream(payload.ToArray()), CompressionMode.Decompress))
                    gzip.ReadExactly(output);
                return output;
            default:
                throw new InvalidDataException("the kernel is compressed in a way that is not known here");
        }
    }

    /// <summary>The lz4 "legacy" frame: a magic number, then blocks of a u32 length and a block of at most 8 MiB unpacked.</summary>
    private static void Lz4Legacy(ReadOnlySpan<byte> input, Span<byte> output)
    {
        int written = 0;
        for (int at = 4; at + 4 <= input.Length && written < output.Length;)
        {
            int length = BinaryPrimitives.ReadInt32LittleEndian(input[at..]);
            written += Lz4Block(input.Slice(at + 4, length), output[written..]);
            at += 4 + length;
        }

        if (written != output.Length)
            throw new InvalidDataException("the lz4 stream is shorter than it says");
    }

    private static int Lz4Block(ReadOnlySpan<byte> input, Span<byte> output)
    {
        int at = 0, to = 0;
        while (at < input.Length)
        {
            int token = input[at++];
            int literals = Length(input, ref at, token >> 4);
            input.Slice(at, literals).CopyTo(output[to..]);
            at += literals;
            to += literals;
            if (at >= input.Length)
                break;
            int back = BinaryPrimitives.ReadUInt16LittleEndian(input[at..]);
            at += 2;
            int match = Length(input, ref at, token & 15) + 4;
            for (int i = 0; i < match; i++, to++)
                output[to] = output[to - back];
        }

        return to;
    }

    private static int Length(ReadOnlySpan<byte> input, ref int at, int nibble)
    {
        int length = nibble;
        if (nibble == 15)
        {
            byte more;
            do
            {
                more = input[at++];
                length += more;
            }
            while (more == 255);
        }

        return length;
    }

    private void ReadSections()
    {
        ReadOnlySpan<byte> elf = Vmlinux.Span;
        int table = (int)BinaryPrimitives.ReadUInt64LittleEndian(elf[0x28..]);
        int count = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3c..]);
        int names = BinaryPrimitives.ReadUInt16LittleEndian(elf[0x3e..]);
        int strings = (int)BinaryPrimitives.ReadUInt64LittleEndian(elf[(table + 64 * names + 0x18)..]);
        for (int i = 1; i < count; i++)
        {
            ReadOnlySpan<byte> header = elf.Slice(table + 64 * i, 64);
            const uint noBits = 8;
            if (BinaryPrimitives.ReadUInt32LittleEndian(header[4..]) == noBits)
                continue;
            ReadOnlySpan<byte> name = elf[(strings + BinaryPrimitives.ReadInt32LittleEndian(header))..];
            _sections[Encoding.ASCII.GetString(name[..name.IndexOf((byte)0)])] = new VmlinuxSection(
                BinaryPrimitives.ReadUInt64LittleEndian(header[0x10..]),
                Vmlinux.Slice((int)BinaryPrimitives.ReadUInt64LittleEndian(header[0x18..]), (int)BinaryPrimitives.ReadUInt64LittleEndian(header[0x20..])));
        }
    }
}
