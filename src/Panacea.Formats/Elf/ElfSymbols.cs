using System.Buffers.Binary;
using System.Text;

namespace Panacea.Formats.Elf;

/// <summary>One symbol of an ELF object.</summary>
/// <param name="Address">Where it lies, as <see cref="ElfSection.Address"/> counts.</param>
/// <param name="Size">st_size in bytes; 0 where the symbol has none.</param>
/// <param name="Room">Bytes to the next symbol of the same section, or to its end: the size that the kernel prints (kallsyms knows no other).</param>
public readonly record struct ElfSymbol(ulong Address, ulong Size, ulong Room)
{
    /// <summary>No symbol of its section comes behind it: what the kernel prints as its size then depends on where the next section was put.</summary>
    public bool IsLast { get; init; }
}

/// <summary>The symbol table of an ELF object, held in memory and searched by name.</summary>
public sealed class ElfSymbols
{
    private const int EntrySize = 24;

    /// <summary>Twice what the kernel takes (KSYM_NAME_LEN, include/linux/kallsyms.h).</summary>
    private const int MaxNameBytes = 1024;

    /// <summary>Static functions of one name are tens at most.</summary>
    private const int MaxSameName = 1000;

    private const byte TypeSection = 3, TypeFile = 4;
    private readonly ElfObject _elf;
    private readonly byte[] _table, _names;
    private readonly NameIndex _index;
    private readonly ulong[] _addresses;

    private ElfSymbols(ElfObject elf, byte[] table, byte[] names)
    {
        (_elf, _table, _names) = (elf, table, names);
        var hashes = new List<uint>();
        var ids = new List<uint>();
        var addresses = new List<ulong>();
        for (int i = 1; i < Count; i++)
        {
            if ((TypeOf(i) is TypeSection or TypeFile) || SectionOf(i) is null || NameOf(i) is not { Length: > 0 } name)
                continue;
            hashes.Add(NameIndex.Hash(name));
            ids.Add((uint)i);
            addresses.Add(AddressOf(i));
        }

        addresses.Sort();
        _addresses = [.. addresses];
        _index = NameIndex.Build(System.Runtime.InteropServices.CollectionsMarshal.AsSpan(hashes), System.Runtime.InteropServices.CollectionsMarshal.AsSpan(ids));
    }

    private int Count => _table.Length / EntrySize;

    /// <summary>Reads .symtab; empty where the object has none.</summary>
    /// <exception cref="InvalidDataException">It is damaged, or beyond the limits.</exception>
    public static ElfSymbols Read(ElfObject elf, FormatLimits limits)
    {
        ElfSection? table = elf.Sections.FirstOrDefault(s => s.Type == ElfSection.SymbolTable && !s.IsEmpty);
        ElfSection? names = table is not null && table.Link < (uint)elf.Sections.Count ? elf.Sections[(int)table.Link] : null;
        return new ElfSymbols(elf, Whole(elf, table, limits), Whole(elf, names, limits));
    }

    /// <summary>All symbols of a name that lie in a section.</summary>
    public IReadOnlyList<ElfSymbol> Find(string name)
    {
        byte[] wanted = Encoding.UTF8.GetBytes(name);
        ReadOnlySpan<byte> candidates = _index.Candidates(NameIndex.Hash(wanted)).Span;
        var found = new List<ElfSymbol>();
        for (int i = 0; i + 4 <= candidates.Length && found.Count < MaxSameName; i += 4)
        {
            int id = (int)BinaryPrimitives.ReadUInt32LittleEndian(candidates[i..]);
            if (!NameOf(id).SequenceEqual(wanted))
                continue;
            ulong room = RoomOf(id, out bool isLast);
            found.Add(new ElfSymbol(AddressOf(id), BinaryPrimitives.ReadUInt64LittleEndian(Entry(id)[16..]), room) { IsLast = isLast });
        }

        return found;
    }

    /// <summary>Value that a relocation's symbol stands for.</summary>
    internal ulong ValueOf(uint symbol) => symbol < (uint)Count ? AddressOf((int)symbol) : 0;

    internal static byte[] Whole(ElfObject elf, ElfSection? section, FormatLimits limits)
    {
        if (section is null or { IsEmpty: true })
            return [];
        if (section.Size > (ulong)limits.MaxElfTableBytes)
            throw new InvalidDataException($"section {section.Name} has {section.Size} bytes, more than {limits.MaxElfTableBytes}");
        return SectionBytes.Open(elf, section, null, limits) is { } bytes ? bytes.Read(0, (int)bytes.Length) : [];
    }

    private ReadOnlySpan<byte> Entry(int i) => _table.AsSpan(i * EntrySize, EntrySize);

    private int TypeOf(int i) => Entry(i)[4] & 15;

    private ElfSection? SectionOf(int i)
    {
        // SHN_UNDEF, and the reserved numbers from 0xff00 on (SHN_ABS, SHN_XINDEX …), lie in no section.
        int number = BinaryPrimitives.ReadUInt16LittleEndian(Entry(i)[6..]);
        return number != 0 && number < 0xff00 && number < _elf.Sections.Count ? _elf.Sections[number] : null;
    }

    /// <summary>st_value counts from the section's start in a relocatable object, and is the address in any other.</summary>
    private ulong AddressOf(int i)
    {
        ulong value = BinaryPrimitives.ReadUInt64LittleEndian(Entry(i)[8..]);
        return _elf.Type == ElfObjectType.Relocatable ? unchecked(value + (SectionOf(i)?.Address ?? 0)) : value;
    }

    private ReadOnlySpan<byte> NameOf(int i)
    {
        uint at = BinaryPrimitives.ReadUInt32LittleEndian(Entry(i));
        if (at >= (uint)_names.Length)
            return default;
        ReadOnlySpan<byte> rest = _names.AsSpan((int)at, Math.Min(_names.Length - (int)at, MaxNameBytes));
        int end = rest.IndexOf((byte)0);
        return end < 0 ? default : rest[..end];
    }

    private ulong RoomOf(int i, out bool isLast)
    {
        ulong address = AddressOf(i);
        ElfSection section = SectionOf(i)!;
        ulong end = unchecked(section.Address + section.Size);
        int at = Array.BinarySearch(_addresses, address);
        while (at >= 0 && at < _addresses.Length && _addresses[at] == address)
            at++;
        isLast = at < 0 || at >= _addresses.Length || _addresses[at] >= end;
        ulong next = isLast ? end : _addresses[at];
        return next > address ? next - address : 0;
    }
}
