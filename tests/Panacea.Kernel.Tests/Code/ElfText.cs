using System.Buffers.Binary;
using System.Text;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Tests.Code;

/// <summary>Just enough of a 64-bit little-endian ELF file for the oracle tests: its text and its function symbols.</summary>
internal sealed class ElfText : ICodeSource
{
    private readonly List<(ulong Address, byte[] Bytes)> _text = [];

    /// <summary>Function symbols by address; of several at one address any.</summary>
    public SortedDictionary<ulong, FunctionRange> Functions { get; } = [];

    /// <summary>Opens a file and reads its text.</summary>
    public ElfText(string path)
    {
        using FileStream file = File.OpenRead(path);
        byte[] header = Read(file, 0, 64);
        long table = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(0x28));
        int count = BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(0x3c));
        byte[] rows = Read(file, table, count * 64);
        byte[]? symbols = null, symbolNames = null;
        for (int i = 0; i < count; i++)
        {
            ReadOnlySpan<byte> row = rows.AsSpan(i * 64, 64);
            uint type = BinaryPrimitives.ReadUInt32LittleEndian(row[4..]);
            bool executable = (BinaryPrimitives.ReadUInt64LittleEndian(row[8..]) & 4) != 0;
            ulong address = BinaryPrimitives.ReadUInt64LittleEndian(row[16..]);
            if (type == 2)
            {
                symbols = Content(file, rows, i);
                symbolNames = Content(file, rows, (int)BinaryPrimitives.ReadUInt32LittleEndian(row[40..]));
            }
            else if (type == 1 && executable)
            {
                _text.Add((address, Content(file, rows, i)));
            }
        }

        for (int at = 0; symbols is not null && at + 24 <= symbols.Length; at += 24)
        {
            ReadOnlySpan<byte> symbol = symbols.AsSpan(at, 24);
            ulong address = BinaryPrimitives.ReadUInt64LittleEndian(symbol[8..]), size = BinaryPrimitives.ReadUInt64LittleEndian(symbol[16..]);
            string name = Name(symbolNames!, BinaryPrimitives.ReadUInt32LittleEndian(symbol));
            if ((symbol[4] & 15) == 2 && size > 0 && BinaryPrimitives.ReadUInt16LittleEndian(symbol[6..]) != 0)
                Functions[address] = new FunctionRange(address, address + size, name);
        }
    }

    public bool TryReadCode(ulong address, Span<byte> destination)
    {
        foreach ((ulong start, byte[] bytes) in _text)
        {
            if (address >= start && address - start <= (ulong)bytes.Length && (ulong)destination.Length <= (ulong)bytes.Length - (address - start))
            {
                bytes.AsSpan((int)(address - start), destination.Length).CopyTo(destination);
                return true;
            }
        }

        return false;
    }

    /// <summary>Functions with their .cold parts.</summary>
    public IEnumerable<FunctionParts> Whole()
    {
        ILookup<string, FunctionRange> byName = Functions.Values.ToLookup(f => f.Name);
        foreach (FunctionRange f in Functions.Values)
        {
            if (f.Name.Contains(".cold", StringComparison.Ordinal))
                continue;
            var parts = byName[f.Name + ".cold"].ToList();

            // Static functions of one name: whose fragment it is can't be told from the name.
            yield return new FunctionParts(f, parts.Count == 1 && byName[f.Name].Count() == 1 ? parts : null);
        }
    }

    private static byte[] Read(FileStream file, long at, int length)
    {
        byte[] bytes = new byte[length];
        file.Position = at;
        file.ReadExactly(bytes);
        return bytes;
    }

    private static byte[] Content(FileStream file, byte[] rows, int index) => Read(
        file, BinaryPrimitives.ReadInt64LittleEndian(rows.AsSpan((index * 64) + 24)),
        (int)BinaryPrimitives.ReadInt64LittleEndian(rows.AsSpan((index * 64) + 32)));

    private static string Name(byte[] strings, uint at)
    {
        ReadOnlySpan<byte> from = strings.AsSpan((int)at);
        return Encoding.ASCII.GetString(from[..from.IndexOf((byte)0)]);
    }
}
