using System.Buffers.Binary;
using System.Text;

namespace Panacea.TestKit.Formats;

/// <summary>How a synthetic kallsyms image is laid out.</summary>
public enum SyntheticKallsymsOrder
{
    /// <summary>offsets, relative_base, num_syms, names, markers, [seqs], tokens (Linux up to 6.3).</summary>
    OffsetsFirst,

    /// <summary>num_syms, names, markers, tokens, offsets, relative_base, seqs (6.4 to 6.19).</summary>
    TokensFirst,

    /// <summary>As TokensFirst without relative_base, offsets relative to their own slots (7.0).</summary>
    SelfRelative,
}

/// <summary>A symbol of a synthetic kernel.</summary>
/// <param name="Address">Address, or value where <paramref name="Absolute"/>.</param>
/// <param name="Type">nm's letter.</param>
/// <param name="Name">Name.</param>
/// <param name="Absolute">A zero-based per-CPU value.</param>
public readonly record struct SyntheticSymbol(ulong Address, char Type, string Name, bool Absolute = false);

/// <summary>Builds the read-only data of a synthetic kernel with kallsyms tables as scripts/kallsyms.c lays them out.</summary>
public sealed class SyntheticKallsyms
{
    private readonly List<SyntheticSymbol> _symbols = [];
    private readonly List<byte> _image = [];

    /// <summary>Guest-virtual address of the image's first byte.</summary>
    public ulong ImageBase { get; init; } = 0xffff_ffff_9200_0000;

    /// <summary>relative_base.</summary>
    public ulong TextBase { get; init; } = 0xffff_ffff_9100_0000;

    /// <summary>Order of the tables.</summary>
    public SyntheticKallsymsOrder Order { get; init; }

    /// <summary>CONFIG_KALLSYMS_ABSOLUTE_PERCPU.</summary>
    public bool AbsolutePerCpu { get; init; } = true;

    /// <summary>kallsyms_seqs_of_names is there.</summary>
    public bool Seqs { get; init; } = true;

    /// <summary>Lengths over 127 are ULEB128 (6.1); else one plain byte.</summary>
    public bool LongNames { get; init; } = true;

    /// <summary>The symbols, in table order.</summary>
    public IReadOnlyList<SyntheticSymbol> Symbols => _symbols;

    /// <summary>Positions in the image of each table, after <see cref="Build"/>: names of the kernel's variables.</summary>
    public Dictionary<string, int> Positions { get; } = [];

    /// <summary>Adds a symbol; they must come sorted, absolute ones first.</summary>
    public SyntheticKallsyms Add(ulong address, char type, string name, bool absolute = false)
    {
        _symbols.Add(new SyntheticSymbol(address, type, name, absolute));
        return this;
    }

    /// <summary>Adds <paramref name="count"/> seeded symbols: digits in names, aliases at one address, per-CPU values first, one very long name.</summary>
    public SyntheticKallsyms AddMany(int count, int seed = 1)
    {
        var random = new Random(seed);
        string[] stems = ["sys_", "do_", "__x64_", "init_", "page_", "tcp_v4_", "ext4_", "sched_", "irq_", "print_"];
        int perCpu = AbsolutePerCpu ? Math.Min(40, count / 10) : 0;
        for (int i = 0; i < perCpu; i++)
            Add((ulong)i * 64, 'D', $"pcpu_{i}", absolute: true);
        ulong at = TextBase;
        Add(at, 'T', "_text");
        Add(at, 'T', "_stext");
        for (int i = perCpu + 2; i < count; i++)
        {
            at += i % 7 == 0 ? 0UL : (ulong)random.Next(1, 400);
            string name = i == perCpu + 9 ? "very_long_" + new string('q', LongNames ? 400 : 150) : stems[random.Next(stems.Length)] + random.Next(1000) + "x" + i % 97;
            Add(at, "TtDdbBrRwW"[random.Next(10)], name);
        }

        return this;
    }

    /// <summary>Lays the image out: some unrelated bytes, the tables, some unrelated bytes.</summary>
    public byte[] Build()
    {
        (byte[] names, List<int> starts, List<byte[]> tokens) = Compress();
        _image.Clear();
        Filler(4096, 11);
        byte[] table = [.. tokens.SelectMany(t => (byte[])[.. t, 0])];
        byte[] index = new byte[512];
        for (int i = 0, at = 0; i < 256; at += tokens[i].Length + 1, i++)
            BinaryPrimitives.WriteUInt16LittleEndian(index.AsSpan(2 * i), (ushort)at);
        byte[] count = new byte[4];
        BinaryPrimitives.WriteInt32LittleEndian(count, _symbols.Count);
        byte[] markers = new byte[4 * ((_symbols.Count + 255) / 256)];
        for (int i = 0; i < _symbols.Count; i += 256)
            BinaryPrimitives.WriteInt32LittleEndian(markers.AsSpan(i / 256 * 4), starts[i]);

        if (Order == SyntheticKallsymsOrder.OffsetsFirst)
            Offsets();
        Table("kallsyms_num_syms", count);
        Table("kallsyms_names", names);
        Table("kallsyms_markers", markers);
        if (Seqs && Order == SyntheticKallsymsOrder.OffsetsFirst)
            Table("kallsyms_seqs_of_names", SeqBytes());
        Table("kallsyms_token_table", table);
        Table("kallsyms_token_index", index);
        if (Order != SyntheticKallsymsOrder.OffsetsFirst)
        {
            Offsets();
            if (Seqs)
                Table("kallsyms_seqs_of_names", SeqBytes());
        }

        Align();
        Filler(4096, 12);
        return [.. _image];
    }

    private void Offsets()
    {
        Align();
        byte[] offsets = new byte[4 * _symbols.Count];
        for (int i = 0; i < _symbols.Count; i++)
        {
            SyntheticSymbol s = _symbols[i];
            long value = Order == SyntheticKallsymsOrder.SelfRelative ? unchecked((long)(s.Address - (ImageBase + (ulong)_image.Count + 4UL * (ulong)i)))
                : s.Absolute ? (long)s.Address
                : AbsolutePerCpu ? -1 - (long)(s.Address - TextBase)
                : (long)(s.Address - TextBase);
            BinaryPrimitives.WriteInt32LittleEndian(offsets.AsSpan(4 * i), unchecked((int)value));
        }

        Table("kallsyms_offsets", offsets);
        if (Order == SyntheticKallsymsOrder.SelfRelative)
            return;
        byte[] relativeBase = new byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(relativeBase, TextBase);
        Table("kallsyms_relative_base", relativeBase);
    }

    private byte[] SeqBytes()
    {
        int[] order = [.. Enumerable.Range(0, _symbols.Count).OrderBy(i => _symbols[i].Name, StringComparer.Ordinal)];
        return [.. order.SelectMany(i => (byte[])[(byte)(i >> 16), (byte)((i >> 8) & 0xff), (byte)(i & 0xff)])];
    }

    /// <summary>Printable characters stand for themselves; a few other numbers stand for common strings.</summary>
    private (byte[] Names, List<int> Starts, List<byte[]> Tokens) Compress()
    {
        string[] strings = ["sys_", "do_", "__x64_", "init", "page_", "tcp_", "ext4_", "sched_", "irq_", "print_", "Tsys_", "tdo_", "very", "pcpu_"];
        var tokens = new List<byte[]>();
        for (int i = 0; i < 256; i++)
            tokens.Add(i is > 32 and < 127 ? [(byte)i] : Encoding.ASCII.GetBytes(strings[i % strings.Length]));
        // Of the numbers that stand for one string, the first is as good as any.
        int[] longer = [.. Enumerable.Range(0, 256).Where(t => tokens[t].Length > 1).DistinctBy(t => Encoding.ASCII.GetString(tokens[t]))];
        var names = new List<byte>();
        var starts = new List<int>();
        foreach (SyntheticSymbol symbol in _symbols)
        {
            starts.Add(names.Count);
            byte[] text = Encoding.UTF8.GetBytes(symbol.Type + symbol.Name);
            var numbers = new List<byte>();
            for (int at = 0; at < text.Length;)
            {
                int best = text[at];
                foreach (int t in longer)
                {
                    if (tokens[t].Length > tokens[best].Length && text.AsSpan(at).StartsWith(tokens[t]))
                        best = t;
                }

                numbers.Add((byte)best);
                at += tokens[best].Length;
            }

            if (LongNames && numbers.Count > 127)
                names.AddRange([(byte)(0x80 | (numbers.Count & 0x7f)), (byte)(numbers.Count >> 7)]);
            else
                names.Add((byte)numbers.Count);
            names.AddRange(numbers);
        }

        return ([.. names], starts, tokens);
    }

    private void Table(string name, byte[] bytes)
    {
        Align();
        Positions[name] = _image.Count;
        _image.AddRange(bytes);
    }

    private void Align()
    {
        while (_image.Count % 8 != 0)
            _image.Add(0);
    }

    private void Filler(int bytes, int seed)
    {
        byte[] filler = new byte[bytes];
        new Random(seed).NextBytes(filler);
        _image.AddRange(filler);
    }
}
