using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.Btf;
using Panacea.Formats.ConsoleLog;
using Panacea.Formats.Elf;
using Panacea.Formats.Kallsyms;
using Panacea.Formats.Orc;
using Panacea.Formats.Tests.Btf;
using Panacea.Formats.VmcoreInfo;

namespace Panacea.Formats.Tests;

/// <summary>One entry per parser, for a fuzzer and for the smoke test. Whatever the bytes, a target returns: a typed failure of the parser is a
/// result, and the only exception that stored bytes may cause is <see cref="InvalidDataException"/>.</summary>
public static class FuzzTargets
{
    /// <summary>A console log: whatever its bytes are, reports within the limits.</summary>
    public static void ConsoleLog(ReadOnlySpan<byte> data)
    {
        var reports = new ConsoleLogReader(FormatLimits.Default).Read(new StreamReader(new MemoryStream(data.ToArray()), Encoding.UTF8), out LogStatistics statistics);
        Assert.True(reports.Count <= FormatLimits.Default.MaxLogReports && statistics.Lines <= data.Length);
    }

    /// <summary>Address at which <see cref="Kallsyms"/> puts its image.</summary>
    public const ulong ImageBase = 0xffff_ffff_9200_0000;

    private static readonly FormatLimits Small = FormatLimits.Default with { MaxSymbolNamesBytes = 4 << 20 };
    private static readonly BtfData Kernel = BtfDataTests.Build(BtfDataTests.Kernel());

    /// <summary>A kernel image.</summary>
    public static void Kallsyms(ReadOnlySpan<byte> data)
    {
        if (!KallsymsLocator.TryLocate(data, ImageBase, Small, out KallsymsLayout layout, out string whyNot))
            Require(whyNot.Length > 0);
        else if (KallsymsReader.TryRead(data, ImageBase, layout, Small, out SymbolTable table, out ulong text, out _))
            Use(table, text, sorted: true);
    }

    /// <summary>Stored sections of a symbol table, each behind its u32 length.</summary>
    public static void SymbolSections(ReadOnlySpan<byte> data)
    {
        byte[][] parts = Split(data, 6);
        if (!SymbolTable.TryOpen(new SymbolTableSections(parts[0], parts[1], parts[2], parts[3], parts[4], parts[5]), out SymbolTable table, out _))
            return;
        Stored(() => Use(table, ImageBase, sorted: false));
    }

    /// <summary>BTF of a kernel.</summary>
    public static void Btf(ReadOnlySpan<byte> data)
    {
        if (BtfData.TryBuild(data.ToArray(), null, Small, out BtfData btf, out string whyNot))
            Use(btf);
        else
            Require(whyNot.Length > 0);
    }

    /// <summary>BTF of a module on a fixed kernel.</summary>
    public static void SplitBtf(ReadOnlySpan<byte> data)
    {
        if (BtfData.TryBuild(data.ToArray(), Kernel, Small, out BtfData btf, out _))
            Use(btf);
    }

    /// <summary>Stored BTF with its two indexes, each behind its u32 length.</summary>
    public static void BtfSections(ReadOnlySpan<byte> data)
    {
        byte[][] parts = Split(data, 3);
        if (BtfData.TryOpen(parts[0], parts[1], parts[2], null, out BtfData btf, out _))
            Stored(() => Use(btf));
    }

    /// <summary>A module's BTF and its distilled base, each behind its u32 length.</summary>
    public static void RelocatedBtf(ReadOnlySpan<byte> data)
    {
        byte[][] parts = Split(data, 2);
        if (!BtfRelocator.TryRelocate(parts[0], parts[1], Kernel, Small, out byte[] relocated, out _))
            return;

        // Names may grow past the ceiling by nothing that relocation does: what it gives out must build.
        Require(BtfData.TryBuild(relocated, Kernel, Small, out BtfData btf, out _));
        Use(btf);
    }

    /// <summary>Slots and rows of ORC, each behind its u32 length.</summary>
    public static void Orc(ReadOnlySpan<byte> data)
    {
        byte[][] parts = Split(data, 2);
        if (!OrcFormat.TryDetect(parts[1], out OrcVersion version, out _))
            version = OrcVersion.V3;
        if (!OrcTable.TryCreate(parts[0], parts[1], ImageBase, version, Small, out OrcTable table, out _))
            return;
        foreach (ulong address in (ulong[])[0, ImageBase, ImageBase - 0x1_0000, unchecked(ImageBase + 0x8000_0000), ulong.MaxValue])
            _ = table.TryFind(address, out _);
        for (int i = 0; i < table.Count; i++)
        {
            Require(table.TryFindIndex(table.InstructionAt(i), out int index) && index >= i);
            _ = table.EntryAt(i);
        }
    }

    /// <summary>A VMCOREINFO note, and its bytes as text.</summary>
    public static void Vmcoreinfo(ReadOnlySpan<byte> data)
    {
        if (VmcoreInfoData.TryParseNote(data, Small, out VmcoreInfoData info, out _) || VmcoreInfoData.TryParse(data, Small, out info, out _))
        {
            foreach (string key in info.Values.Keys)
            {
                string inner = key.Contains('(', StringComparison.Ordinal) ? key[(key.IndexOf('(', StringComparison.Ordinal) + 1)..].TrimEnd(')') : key;
                _ = info.TryGetSymbol(inner, out _) | info.TryGetNumber(inner, out _) | info.TryGetOffset(inner, out _)
                    | info.TryGetSize(inner, out _) | info.TryGetLength(inner, out _);
            }

            _ = info.TryGetBuildId(out _) | info.TryGetKernelOffset(out _);
        }
    }

    /// <summary>A section of ELF notes.</summary>
    public static void Notes(ReadOnlySpan<byte> data)
    {
        byte[] section = data.ToArray();
        _ = ElfNotes.TryRead(section, out _, out _);
        _ = ElfNotes.TryFindBuildId(section, out _);
    }

    private static void Use(SymbolTable table, ulong text, bool sorted)
    {
        for (int i = 0; i < table.Count; i += 1 + table.Count / 50)
        {
            Symbol symbol = table[i];

            // Of stored values that damage has put out of order, a lookup may give any symbol, but no crash.
            bool found = table.TryFindByAddress(symbol.AddressAt(text), text, out SymbolHit hit);
            Require(!sorted || symbol.IsAbsolute || (found && hit.Offset == 0 && hit.Symbol.Value == symbol.Value));
            _ = table.TryFindAbsolute(symbol.Value, out _);
            _ = table.TryFindByName(table.NameBytes(i), out _);
            _ = table.Name(i);
        }

        _ = table.TryFindByAddress(text + 0x1234, text, out _);
        _ = table.TryFindByName("_text", out _);
    }

    private static void Use(BtfData btf)
    {
        for (uint id = 0; id < btf.EndId; id++)
        {
            BtfType type = btf.GetType(id);
            _ = btf.TryResolve(id, out _) | btf.TrySizeOf(id, out _) | btf.TryFindMember(id, "thread.list[1].next", out _);
            if (id < 200)
                _ = BtfFormatter.Format(type, withOffsets: true).Length + BtfFormatter.TypeName(type).Length;
            if (type.NameOffset != 0)
                _ = type.Data.TryFind(type.Data.GetStringBytes(type.NameOffset), type.Kind, out _);
        }

        _ = btf.TryFindMember("task_struct", "thread.list.prev", out _) | btf.TryFindFunction("do_thing", out _) | btf.TryFindEnumerator("HIGH", out _);
    }

    private static byte[][] Split(ReadOnlySpan<byte> data, int parts)
    {
        byte[][] split = new byte[parts][];
        for (int i = 0; i < parts; i++)
        {
            int length = data.Length < 4 ? 0 : (int)Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(data), (uint)(data.Length - 4));
            split[i] = data.Length < 4 ? [] : data.Slice(4, length).ToArray();
            data = data.Length < 4 ? default : data[(4 + length)..];
        }

        return split;
    }

    /// <summary>Puts parts together as <see cref="Split"/> takes them apart.</summary>
    internal static byte[] Join(params ReadOnlyMemory<byte>[] parts) => [.. parts.SelectMany(p => (byte[])[.. BitConverter.GetBytes(p.Length), .. p.Span])];

    private static void Stored(Action use)
    {
        try
        {
            use();
        }
        catch (InvalidDataException)
        {
            // The promised error for damaged stored bytes.
        }
    }

    private static void Require(bool condition)
    {
        if (!condition)
            throw new InvalidOperationException("a parser gave an answer that contradicts itself");
    }
}
