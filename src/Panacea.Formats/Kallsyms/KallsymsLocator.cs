using System.Buffers.Binary;

namespace Panacea.Formats.Kallsyms;

/// <summary>
/// Finds the kallsyms tables in the bytes of a kernel image without any symbol: the token table holds the strings "0" to "9" in a row
/// (each character that occurs in a name stands for itself), and everything else is derived from it and checked against the rest.
/// </summary>
public static class KallsymsLocator
{
    private const int Tokens = 256;
    private const int MinSymbols = 512;
    private const int MaxTokenBytes = 512;
    private const int MaxCandidates = 4096;

    // The tables' labels are aligned to the word size (scripts/kallsyms.c, output_label: ALGN).
    private const int Align = 8;
    private const ulong KernelImageWindow = 0xffff_ffff_8000_0000;
    private const ulong MaxImageBytes = 1UL << 30;

    private static ReadOnlySpan<byte> Digits => "0\01\02\03\04\05\06\07\08\09\0"u8;

    /// <summary>Searches a kernel image (or its read-only data alone) for the tables.</summary>
    /// <param name="image">Bytes as they are in guest memory, contiguous in guest-virtual addresses.</param>
    /// <param name="imageBase">Guest-virtual address of the first byte; a multiple of 8.</param>
    /// <param name="layout">The tables, all of them inside <paramref name="image"/>, counts and lengths verified against each other.</param>
    /// <param name="whyNot">One sentence about the candidate that came furthest, where the result is false.</param>
    /// <returns>True when one consistent set of tables was found.</returns>
    public static bool TryLocate(ReadOnlySpan<byte> image, ulong imageBase, out KallsymsLayout layout, out string whyNot) =>
        TryLocate(image, imageBase, FormatLimits.Default, out layout, out whyNot);

    /// <inheritdoc cref="TryLocate(ReadOnlySpan{byte}, ulong, out KallsymsLayout, out string)"/>
    public static bool TryLocate(ReadOnlySpan<byte> image, ulong imageBase, FormatLimits limits, out KallsymsLayout layout, out string whyNot)
    {
        layout = default;
        if (!CheckImage(image, imageBase, out whyNot))
            return false;
        whyNot = "no kallsyms token table in the image: the kernel has no kallsyms, or its read-only data was not read";
        long budget = 64L << 20;
        int from = 0;
        for (int candidate = 0; candidate < MaxCandidates; candidate++)
        {
            int hit = image[from..].IndexOf(Digits);
            if (hit < 0)
                return false;
            int zero = from + hit;
            from = zero + 1;
            if (TryTokenTable(image, imageBase, zero, out int table, out int index)
                && TryDerive(image, imageBase, table, index, limits, ref budget, out layout, out whyNot))
                return true;
        }

        return false;
    }

    /// <summary>Derives the layout from known addresses, with the same verification as a search; addresses that disagree are a failure.</summary>
    public static bool TryFromAddresses(
        ReadOnlySpan<byte> image, ulong imageBase, KallsymsAddresses known, FormatLimits limits, out KallsymsLayout layout, out string whyNot)
    {
        layout = default;
        if (!CheckImage(image, imageBase, out whyNot))
            return false;
        ulong offset = unchecked(known.TokenTable - imageBase);
        whyNot = $"no kallsyms token table at 0x{known.TokenTable:x}";
        if (offset >= (ulong)image.Length)
            return false;
        int table = (int)offset;
        int zero = table;
        for (int i = 0; i < 0x30; i++)
        {
            int length = image.Slice(zero, Math.Min(MaxTokenBytes, image.Length - zero)).IndexOf((byte)0);
            if (length < 0)
                return false;
            zero += length + 1;
        }

        long budget = 64L << 20;
        if (!TryTokenTable(image, imageBase, zero, out int found, out int index) || found != table
            || !TryDerive(image, imageBase, table, index, limits, ref budget, out layout, out whyNot))
            return false;
        if (Differs(known.TokenIndex, layout.TokenIndex) || Differs(known.NumSyms, layout.NumSyms) || Differs(known.Names, layout.Names)
            || Differs(known.Offsets, layout.Offsets) || Differs(known.RelativeBase, layout.RelativeBaseAddress))
        {
            whyNot = "the known kallsyms addresses disagree with what the tables themselves say";
            return false;
        }

        return true;
    }

    private static bool Differs(ulong known, ulong found) => known != 0 && known != found;

    private static bool CheckImage(ReadOnlySpan<byte> image, ulong imageBase, out string whyNot)
    {
        whyNot = imageBase % Align != 0 ? "the image's address is not a multiple of 8"
            : unchecked(imageBase + (ulong)image.Length) < imageBase ? "the image wraps around the address space" : "";
        return whyNot.Length == 0;
    }

    /// <summary>From the position of token 0x30 ("0"): walks on to the end of the token table, finds the index behind it, and with it the start.</summary>
    private static bool TryTokenTable(ReadOnlySpan<byte> image, ulong imageBase, int zero, out int table, out int index)
    {
        table = index = 0;
        int at = zero;
        for (int token = 0x30; token < Tokens; token++)
        {
            int length = at < image.Length ? image.Slice(at, Math.Min(MaxTokenBytes, image.Length - at)).IndexOf((byte)0) : -1;
            if (length < 0)
                return false;
            at += length + 1;
        }

        int end = at;
        index = AlignUp(end, imageBase);
        if (index > image.Length - 2 * Tokens || image[end..index].ContainsAnyExcept((byte)0))
            return false;
        table = zero - BinaryPrimitives.ReadUInt16LittleEndian(image[(index + 2 * 0x30)..]);
        if (table < 0)
            return false;
        at = table;
        for (int token = 0; token < Tokens; token++)
        {
            int length = at < end ? image[at..end].IndexOf((byte)0) : -1;
            if (length < 0 || BinaryPrimitives.ReadUInt16LittleEndian(image[(index + 2 * token)..]) != at - table)
                return false;
            at += length + 1;
        }

        return at == end;
    }

    /// <summary>Walks back from the token table over every place where num_syms can be, until names and markers fit exactly in between.</summary>
    private static bool TryDerive(
        ReadOnlySpan<byte> image, ulong imageBase, int table, int index, FormatLimits limits, ref long budget, out KallsymsLayout layout, out string whyNot)
    {
        layout = default;
        whyNot = $"a token table is at 0x{imageBase + (ulong)table:x}, but no symbol count and names before it fit together";
        var positions = new List<uint>();
        for (int at = table - 16 & -Align; at >= 0 && budget > 0; at -= Align, budget--)
        {
            ulong word = BinaryPrimitives.ReadUInt64LittleEndian(image[at..]);
            if (word < MinSymbols || word > (ulong)limits.MaxSymbols)
                continue;
            int count = (int)word;
            int names = at + 8;
            if (2L * count + 4L * Markers(count) > table - names)
                continue;
            bool longNames = TryNames(image[..table], imageBase, names, count, longNames: true, positions, ref budget, out int length, out int seqs);
            if (!longNames && !TryNames(image[..table], imageBase, names, count, longNames: false, positions, ref budget, out length, out seqs))
                continue;
            whyNot = $"{count} symbol names are at 0x{imageBase + (ulong)names:x}, but no table of their addresses was found";
            var found = new KallsymsLayout
            {
                Order = KallsymsOrder.OffsetsFirst,
                SymbolCount = count,
                NumSyms = imageBase + (ulong)at,
                Names = imageBase + (ulong)names,
                NamesLength = length,
                Markers = imageBase + (ulong)AlignUp(names + length, imageBase),
                TokenTable = imageBase + (ulong)table,
                TokenIndex = imageBase + (ulong)index,
                SeqsOfNames = seqs == 0 ? 0 : imageBase + (ulong)seqs,
                Offsets = 0,
                LongNames = longNames,
            };
            return TryOffsets(image, imageBase, found, at, index, out layout);
        }

        return false;
    }

    private static int Markers(int count) => (count + 255) / 256;

    /// <summary>Walks all names, then compares the position of each 256th with the markers behind them, then checks that markers
    /// (and seqs_of_names, which 6.1-stable to 6.3 have there) end exactly at the token table, the end of <paramref name="before"/>.</summary>
    private static bool TryNames(
        ReadOnlySpan<byte> before, ulong imageBase, int names, int count, bool longNames, List<uint> positions, ref long budget, out int length, out int seqs)
    {
        length = seqs = 0;
        int at = names;
        positions.Clear();
        for (int i = 0; i < count; i++)
        {
            if (i % 256 == 0)
                positions.Add((uint)(at - names));
            if (!TryNameLength(before, ref at, longNames, out int tokens) || tokens > before.Length - at)
                return false;
            at += tokens;
            if (--budget <= 0)
                return false;
        }

        length = at - names;
        int markers = AlignUp(at, imageBase);
        int markersEnd = markers + 4 * Markers(count);
        if (markersEnd > before.Length || before[at..markers].ContainsAnyExcept((byte)0))
            return false;
        int afterMarkers = AlignUp(markersEnd, imageBase);
        if (afterMarkers != before.Length)
        {
            seqs = afterMarkers;
            if (afterMarkers > before.Length - 3L * count || AlignUp(afterMarkers + 3 * count, imageBase) != before.Length)
                return false;
        }

        for (int i = 0; i < positions.Count; i++)
        {
            if (BinaryPrimitives.ReadUInt32LittleEndian(before[(markers + 4 * i)..]) != positions[i])
                return false;
        }

        return true;
    }

    /// <summary>Reads one name's length (in tokens) and moves behind it. A name has at least its type and one more character, so at least one token.</summary>
    internal static bool TryNameLength(ReadOnlySpan<byte> bytes, ref int at, bool longNames, out int tokens)
    {
        tokens = 0;
        if (at >= bytes.Length)
            return false;
        tokens = bytes[at++];
        if (longNames && (tokens & 0x80) != 0)
        {
            if (at >= bytes.Length)
                return false;
            tokens = (tokens & 0x7f) | (bytes[at++] << 7);
        }

        return tokens > 0;
    }

    /// <summary>Tries the places where the offsets can be; the right one gives ascending addresses in the kernel's image window.</summary>
    private static bool TryOffsets(
        ReadOnlySpan<byte> image, ulong imageBase, KallsymsLayout found, int numSyms, int index, out KallsymsLayout layout)
    {
        int bytes = 4 * found.SymbolCount;
        int padded = (bytes + Align - 1) & -Align;
        int afterTokens = AlignUp(index + 2 * Tokens, imageBase);

        // Up to 6.3: before num_syms.
        int baseAt = numSyms - 8;
        int at = baseAt - padded;
        if (at >= 0 && TryRelative(image, at, baseAt, found, KallsymsOrder.OffsetsFirst, imageBase, out layout))
            return true;

        // 6.4: after the token index, the base behind them.
        at = afterTokens;
        baseAt = at + padded;
        if (baseAt <= image.Length - 8 && TryRelative(image, at, baseAt, found, KallsymsOrder.TokensFirst, imageBase, out layout))
        {
            layout = layout with { SeqsOfNames = SeqsAt(image, imageBase, baseAt + 8, found.SymbolCount) };
            return true;
        }

        // 7.0: the same place, no base. Text lies before read-only data, so the first symbol does before this table; offsets from a base
        // that could not be read would all point behind it.
        layout = found with
        {
            Order = KallsymsOrder.SelfRelative,
            Offsets = imageBase + (ulong)at,
            SeqsOfNames = SeqsAt(image, imageBase, at + padded, found.SymbolCount),
        };
        return bytes <= image.Length - at && Ascending(image.Slice(at, bytes), layout, out ulong first) && first < layout.Offsets;
    }

    private static bool TryRelative(
        ReadOnlySpan<byte> image, int at, int baseAt, KallsymsLayout found, KallsymsOrder order, ulong imageBase, out KallsymsLayout layout)
    {
        ulong relativeBase = BinaryPrimitives.ReadUInt64LittleEndian(image[baseAt..]);
        ReadOnlySpan<byte> offsets = image.Slice(at, 4 * found.SymbolCount);
        bool negative = false;
        for (int i = 3; i < offsets.Length && !negative; i += 4)
            negative = (offsets[i] & 0x80) != 0;
        layout = found with
        {
            Order = order,
            Offsets = imageBase + (ulong)at,
            RelativeBaseAddress = imageBase + (ulong)baseAt,
            RelativeBase = relativeBase,
            AbsolutePerCpu = negative,
        };

        // The base is the lowest address that moves (record_relative_base, scripts/kallsyms.c).
        return relativeBase >= KernelImageWindow && Ascending(offsets, layout, out ulong first) && first == relativeBase;
    }

    private static ulong SeqsAt(ReadOnlySpan<byte> image, ulong imageBase, int at, int count)
    {
        if (at > image.Length - 3L * count)
            return 0;
        ReadOnlySpan<byte> seqs = image.Slice(at, 3 * count);
        for (int i = 0; i < seqs.Length; i += 3)
        {
            if ((seqs[i] << 16 | seqs[i + 1] << 8 | seqs[i + 2]) >= count)
                return 0;
        }

        return imageBase + (ulong)at;
    }

    /// <summary>scripts/kallsyms.c sorts by address (sort_symbols), absolute per-CPU values first: they are below 2 GiB.</summary>
    private static bool Ascending(ReadOnlySpan<byte> offsets, in KallsymsLayout layout, out ulong first)
    {
        ulong last = 0;
        first = 0;
        for (int i = 0; i < layout.SymbolCount; i++)
        {
            ulong address = AddressOf(layout, i, BinaryPrimitives.ReadInt32LittleEndian(offsets[(4 * i)..]), out bool absolute);
            if (address < last)
                return false;
            last = address;
            if (absolute)
                continue;
            if (first == 0)
                first = address;
            if (address < KernelImageWindow || address - first > MaxImageBytes)
                return false;
        }

        return first != 0;
    }

    /// <summary>The address (or absolute value) of symbol <paramref name="i"/> whose stored offset is <paramref name="offset"/> (kallsyms_sym_address, kernel/kallsyms.c).</summary>
    internal static ulong AddressOf(in KallsymsLayout layout, int i, int offset, out bool absolute)
    {
        absolute = layout.AbsolutePerCpu && offset >= 0;
        return unchecked(
            layout.Order == KallsymsOrder.SelfRelative ? layout.Offsets + 4UL * (ulong)i + (ulong)(long)offset
            : !layout.AbsolutePerCpu ? layout.RelativeBase + (uint)offset
            : offset >= 0 ? (ulong)offset
            : layout.RelativeBase - 1 - (ulong)(long)offset);
    }

    // imageBase is a multiple of 8, so aligning the offset aligns the address.
    private static int AlignUp(int offset, ulong imageBase) => (offset + Align - 1 + (int)(imageBase % Align)) & -Align;
}
