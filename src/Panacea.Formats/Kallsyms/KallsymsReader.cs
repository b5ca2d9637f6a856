using System.Buffers.Binary;

namespace Panacea.Formats.Kallsyms;

/// <summary>Expands located kallsyms tables into a <see cref="SymbolTable"/>.</summary>
public static class KallsymsReader
{
    /// <summary>Reads every symbol.</summary>
    /// <param name="image">The bytes in which <see cref="KallsymsLocator"/> found <paramref name="layout"/>.</param>
    /// <param name="imageBase">Guest-virtual address of the first byte.</param>
    /// <param name="layout">Where the tables are; it is not trusted: everything is bounds-checked again.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="table">The symbols, KASLR-independent.</param>
    /// <param name="baseAddress">The table's base in this guest: the lowest address that moves with KASLR (<c>_text</c>).</param>
    /// <param name="whyNot">The reason, where the result is false.</param>
    public static bool TryRead(
        ReadOnlySpan<byte> image, ulong imageBase, in KallsymsLayout layout, FormatLimits limits,
        out SymbolTable table, out ulong baseAddress, out string whyNot)
    {
        table = null!;
        baseAddress = 0;
        if (layout.SymbolCount < 0 || layout.SymbolCount > limits.MaxSymbols
            || !TrySlice(image, imageBase, layout.Names, layout.NamesLength, out ReadOnlySpan<byte> names)
            || !TrySlice(image, imageBase, layout.TokenIndex, 512, out ReadOnlySpan<byte> index)
            || !TrySlice(image, imageBase, layout.Offsets, 4L * layout.SymbolCount, out ReadOnlySpan<byte> offsets)
            || layout.TokenIndex < layout.TokenTable
            || !TrySlice(image, imageBase, layout.TokenTable, (long)Math.Min(layout.TokenIndex - layout.TokenTable, int.MaxValue), out ReadOnlySpan<byte> tokens))
        {
            whyNot = "the kallsyms tables do not lie inside the image";
            return false;
        }

        // Almost every token is of a few bytes: those are put down as one word each, of which the next token overwrites what is too much.
        Span<(int Start, int Length)> token = stackalloc (int, int)[256];
        Span<ulong> word = stackalloc ulong[256];
        for (int i = 0; i < 256; i++)
        {
            int start = BinaryPrimitives.ReadUInt16LittleEndian(index[(2 * i)..]);
            int length = start < tokens.Length ? tokens[start..].IndexOf((byte)0) : -1;
            if (length < 0)
            {
                whyNot = $"kallsyms token {i} lies outside the token table";
                return false;
            }

            token[i] = (start, length);
            for (int b = 0; b < Math.Min(length, sizeof(ulong)); b++)
                word[i] |= (ulong)tokens[start + b] << (8 * b);
        }

        var builder = new SymbolTableBuilder(limits, layout.SymbolCount);
        int longest = limits.MaxSymbolNameBytes + 1;
        Span<byte> name = new byte[longest + sizeof(ulong)];
        int at = 0;
        for (int i = 0; i < layout.SymbolCount; i++)
        {
            if (!KallsymsLocator.TryNameLength(names, ref at, layout.LongNames, out int count) || count > names.Length - at)
            {
                whyNot = $"the kallsyms names end at symbol {i} of {layout.SymbolCount}";
                return false;
            }

            int used = 0;
            foreach (byte number in names.Slice(at, count))
            {
                (int start, int length) = token[number];
                if (length > longest - used)
                {
                    whyNot = $"the name of kallsyms symbol {i} is longer than {limits.MaxSymbolNameBytes} bytes";
                    return false;
                }

                if (length <= sizeof(ulong))
                    BinaryPrimitives.WriteUInt64LittleEndian(name[used..], word[number]);
                else
                    tokens.Slice(start, length).CopyTo(name[used..]);
                used += length;
            }

            at += count;
            if (used == 0)
            {
                whyNot = $"kallsyms symbol {i} has neither type nor name";
                return false;
            }

            ulong address = KallsymsLocator.AddressOf(layout, i, BinaryPrimitives.ReadInt32LittleEndian(offsets[(4 * i)..]), out bool absolute);
            builder.Add(address, (char)name[0], name[1..used], absolute);
        }

        return builder.TryBuild(0, out table, out baseAddress, out whyNot);
    }

    private static bool TrySlice(ReadOnlySpan<byte> image, ulong imageBase, ulong address, long length, out ReadOnlySpan<byte> slice)
    {
        ulong from = unchecked(address - imageBase);
        slice = default;
        if (length < 0 || from > (ulong)image.Length || (ulong)length > (ulong)image.Length - from)
            return false;
        slice = image.Slice((int)from, (int)length);
        return true;
    }
}
