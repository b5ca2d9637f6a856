using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.Vmcore;

namespace Panacea.Formats.Elf;

/// <summary>The sections of an x86-64 ELF object: a kernel, a module, or the debug information of either. Immutable; what the sections hold is read when it is asked for.</summary>
public sealed class ElfObject
{
    private const int HeaderSize = 64, SectionHeaderSize = 64, MaxNameBytes = 256;
    private const ushort MachineX64 = 62;

    /// <summary>Where the first section of a relocatable object is put: not at 0, which line tables use for code that was dropped.</summary>
    private const ulong FirstAddress = 0x10000;

    /// <summary>A section's own place is this far from the next at least.</summary>
    private const ulong Apart = 0x1000;

    private ElfObject(IDumpBytes file, ElfObjectType type, IReadOnlyList<ElfSection> sections) => (File, Type, Sections) = (file, type, sections);

    /// <summary>The file.</summary>
    public IDumpBytes File { get; }

    /// <summary>Its kind.</summary>
    public ElfObjectType Type { get; }

    /// <summary>Its sections, by number.</summary>
    public IReadOnlyList<ElfSection> Sections { get; }

    /// <summary>The first section of that name; null where there is none.</summary>
    public ElfSection? Find(string name) => Sections.FirstOrDefault(s => s.Name == name);

    /// <summary>Reads the headers.</summary>
    /// <param name="file">The file.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="elf">The result.</param>
    /// <param name="whyNot">Why it can't be used, where the result is false.</param>
    public static bool TryRead(IDumpBytes file, FormatLimits limits, out ElfObject elf, out string whyNot)
    {
        elf = null!;
        Span<byte> header = stackalloc byte[HeaderSize];
        if (!file.TryReadExactly(0, header) || !header.StartsWith((ReadOnlySpan<byte>)[0x7f, (byte)'E', (byte)'L', (byte)'F']))
        {
            whyNot = "it is no ELF file";
            return false;
        }

        ushort type = BinaryPrimitives.ReadUInt16LittleEndian(header[16..]);
        if (header[4] != 2 || header[5] != 1 || BinaryPrimitives.ReadUInt16LittleEndian(header[18..]) != MachineX64 || type is < 1 or > 3)
        {
            whyNot = "it is no program, module or kernel of x86-64";
            return false;
        }

        ulong at = BinaryPrimitives.ReadUInt64LittleEndian(header[40..]);
        ushort entry = BinaryPrimitives.ReadUInt16LittleEndian(header[58..]);
        uint count = BinaryPrimitives.ReadUInt16LittleEndian(header[60..]), names = BinaryPrimitives.ReadUInt16LittleEndian(header[62..]);
        byte[] first = new byte[SectionHeaderSize];
        if (at == 0 || entry != SectionHeaderSize || !file.TryReadExactly(at, first))
        {
            whyNot = "it has no section headers";
            return false;
        }

        // More sections than 16 bits hold are counted in the first header (gABI, "Extended numbering").
        if (count == 0)
            count = (uint)Math.Min(uint.MaxValue, BinaryPrimitives.ReadUInt64LittleEndian(first.AsSpan(32)));
        if (names == 0xffff)
            names = BinaryPrimitives.ReadUInt32LittleEndian(first.AsSpan(40));
        if (count > (uint)limits.MaxElfSections)
        {
            whyNot = $"it says that it has {count} sections, more than {limits.MaxElfSections}";
            return false;
        }

        byte[] raw = new byte[checked((int)count * SectionHeaderSize)];
        if (!file.TryReadExactly(at, raw))
        {
            whyNot = "the file ends in its section headers";
            return false;
        }

        elf = new ElfObject(file, (ElfObjectType)type, Sectioned(file, raw, (int)count, names, type == (int)ElfObjectType.Relocatable));
        whyNot = "";
        return true;
    }

    private static List<ElfSection> Sectioned(IDumpBytes file, byte[] raw, int count, uint names, bool isRelocatable)
    {
        ulong nameOffset = 0, nameSize = 0;
        if (names < (uint)count)
        {
            nameOffset = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan((int)names * SectionHeaderSize + 24));
            nameSize = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan((int)names * SectionHeaderSize + 32));
        }

        var sections = new List<ElfSection>(count);
        ulong next = FirstAddress;
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> h = raw.AsSpan(i * SectionHeaderSize, SectionHeaderSize);
            uint name = BinaryPrimitives.ReadUInt32LittleEndian(h);
            var section = new ElfSection(
                i, name < nameSize ? NameAt(file, nameOffset, name) : "", BinaryPrimitives.ReadUInt32LittleEndian(h[4..]), BinaryPrimitives.ReadUInt64LittleEndian(h[8..]),
                BinaryPrimitives.ReadUInt64LittleEndian(h[16..]), BinaryPrimitives.ReadUInt64LittleEndian(h[24..]), BinaryPrimitives.ReadUInt64LittleEndian(h[32..]),
                BinaryPrimitives.ReadUInt32LittleEndian(h[40..]), BinaryPrimitives.ReadUInt32LittleEndian(h[44..]));
            if (isRelocatable)
            {
                // What the size claims is believed up to 1 GiB: nothing else lies there, and no sum overflows.
                section = section with { Address = section.IsLoaded ? next : 0 };
                if (section.IsLoaded)
                    next += (Math.Min(section.Size, 1UL << 30) + 2 * Apart - 1) / Apart * Apart;
            }

            sections.Add(section);
        }

        return sections;
    }

    private static string NameAt(IDumpBytes file, ulong table, uint name)
    {
        if (table > (ulong)(long.MaxValue - name))
            return "";
        Span<byte> bytes = stackalloc byte[MaxNameBytes];
        bytes = bytes[..file.Read((long)(table + name), bytes)];
        int end = bytes.IndexOf((byte)0);
        return end < 0 ? "" : Encoding.UTF8.GetString(bytes[..end]);
    }
}
