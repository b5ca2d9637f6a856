using System.Buffers.Binary;

namespace Panacea.Formats.Btf;

/// <summary>The parts of a BTF blob (struct btf_header: u16 magic, u8 version, u8 flags, u32 hdr_len, type_off, type_len, str_off, str_len).</summary>
internal readonly record struct BtfLayout(ReadOnlyMemory<byte> Blob, ReadOnlyMemory<byte> Types, ReadOnlyMemory<byte> Strings)
{
    internal const int HeaderBytes = 24;
    internal const ushort Magic = 0xeb9f;

    internal static bool TryRead(ReadOnlyMemory<byte> blob, FormatLimits limits, out BtfLayout layout, out string whyNot)
    {
        layout = default;
        whyNot = "";
        ReadOnlySpan<byte> raw = blob.Span;
        if (raw.Length < HeaderBytes || BinaryPrimitives.ReadUInt16LittleEndian(raw) != Magic || raw[2] != 1)
        {
            whyNot = "not little-endian BTF of version 1";
            return false;
        }

        if (raw.Length > limits.MaxBtfBytes)
        {
            whyNot = $"{raw.Length} bytes of BTF are more than the {limits.MaxBtfBytes} allowed";
            return false;
        }

        // A longer header is a newer one: what it adds stands behind what is known (btf_parse_hdr, kernel/bpf/btf.c).
        uint header = BinaryPrimitives.ReadUInt32LittleEndian(raw[4..]);
        uint typeOffset = BinaryPrimitives.ReadUInt32LittleEndian(raw[8..]);
        uint typeLength = BinaryPrimitives.ReadUInt32LittleEndian(raw[12..]);
        uint stringOffset = BinaryPrimitives.ReadUInt32LittleEndian(raw[16..]);
        uint stringLength = BinaryPrimitives.ReadUInt32LittleEndian(raw[20..]);
        if (header < HeaderBytes || (long)header + typeOffset + typeLength > raw.Length || (long)header + stringOffset + stringLength > raw.Length)
        {
            whyNot = "the sections of the BTF header reach past the blob";
            return false;
        }

        layout = new BtfLayout(blob, blob.Slice((int)(header + typeOffset), (int)typeLength), blob.Slice((int)(header + stringOffset), (int)stringLength));
        if (stringLength > 0 && layout.Strings.Span[^1] != 0)
        {
            whyNot = "the BTF strings do not end in a NUL";
            return false;
        }

        return true;
    }

    /// <summary>Reads one record; checks that all of it lies inside the type section.</summary>
    internal static bool TryReadRecord(ReadOnlyMemory<byte> types, int at, BtfData data, uint id, out BtfType type, out int length)
    {
        type = default;
        length = 0;
        if (at < 0 || types.Length - at < BtfType.HeaderBytes)
            return false;
        ReadOnlySpan<byte> raw = types.Span.Slice(at, BtfType.HeaderBytes);
        (BtfKind kind, bool flag, int vlen) = Info(BinaryPrimitives.ReadUInt32LittleEndian(raw[4..]));
        long tail = BtfType.TailBytes(kind, vlen);
        if (tail < 0 || tail > types.Length - at - BtfType.HeaderBytes)
            return false;
        length = BtfType.HeaderBytes + (int)tail;
        type = new BtfType(data, id, kind, flag, vlen, BinaryPrimitives.ReadUInt32LittleEndian(raw), BinaryPrimitives.ReadUInt32LittleEndian(raw[8..]),
            types.Slice(at + BtfType.HeaderBytes, (int)tail));
        return true;
    }

    /// <summary>Takes the info word apart: vlen in bits 0–15, kind in 24–28, kind flag in 31; the bits between are zero.</summary>
    internal static (BtfKind Kind, bool Flag, int Length) Info(uint info) =>
        ((BtfKind)((info >> 24) & 0x7f), (info & 0x8000_0000) != 0, (int)(info & 0xff_ffff));
}
