using System.Buffers.Binary;
using System.IO.Compression;
using Panacea.Formats.Vmcore;
using ZstdSharp;

namespace Panacea.Formats.Elf;

/// <summary>What one section holds: unpacked where it is compressed, relocated where the object is relocatable.</summary>
internal sealed class SectionBytes : IDisposable
{
    /// <summary>What unpacks to less is held in memory.</summary>
    private const long MostInMemory = 32 << 20;

    private const int CompressionHeaderSize = 24;
    private const uint Zlib = 1, Zstd = 2;
    private readonly IDumpBytes _bytes;
    private readonly ulong _start;
    private readonly Relocations? _relocations;
    private readonly IDisposable? _owned;

    private SectionBytes(IDumpBytes bytes, ulong start, ulong length, Relocations? relocations, IDisposable? owned = null) =>
        (_bytes, _start, Length, _relocations, _owned) = (bytes, start, length, relocations, owned);

    /// <summary>No section.</summary>
    public static SectionBytes Nothing { get; } = new(new MemoryDumpBytes(default), 0, 0, null);

    /// <summary>Bytes.</summary>
    public ulong Length { get; }

    /// <summary>Opens a section; <see cref="Nothing"/> where there is none.</summary>
    /// <exception cref="InvalidDataException">It is damaged, or beyond the limits.</exception>
    /// <exception cref="IOException">What it unpacks to can't be kept.</exception>
    public static SectionBytes Open(ElfObject elf, ElfSection? section, Relocations? relocations, FormatLimits limits)
    {
        if (section is null or { IsEmpty: true } or { Size: 0 })
            return Nothing;
        ulong length = (ulong)elf.File.Length;
        if (section.Offset >= length || section.Size > length - section.Offset)
            throw new InvalidDataException($"section {section.Name} lies outside the file");
        return section.IsCompressed ? Unpack(elf, section, relocations, limits) : new SectionBytes(elf.File, section.Offset, section.Size, relocations);
    }

    /// <summary>Bytes from an offset on.</summary>
    /// <exception cref="InvalidDataException">They are not all there.</exception>
    public byte[] Read(ulong offset, int count)
    {
        // Before the memory is taken: the count is what the file says.
        if (offset > Length || (ulong)count > Length - offset)
            throw new InvalidDataException($"an offset of 0x{offset:x} leads outside its section");
        byte[] bytes = new byte[count];
        if (!_bytes.TryReadExactly(_start + offset, bytes))
            throw new InvalidDataException($"an offset of 0x{offset:x} leads outside its section");
        _relocations?.Apply(offset, bytes);
        return bytes;
    }

    /// <summary>Bytes from an offset on, up to a number of them or the end of the section.</summary>
    /// <exception cref="InvalidDataException">The offset lies outside.</exception>
    public byte[] ReadUpTo(ulong offset, int most)
    {
        if (offset > Length)
            throw new InvalidDataException($"an offset of 0x{offset:x} leads outside its section");
        return Read(offset, (int)Math.Min((ulong)most, Length - offset));
    }

    /// <summary>A zero-terminated string; what is longer than <paramref name="most"/> bytes is cut.</summary>
    /// <exception cref="InvalidDataException">The offset lies outside.</exception>
    public string ReadString(ulong offset, int most = 1024)
    {
        for (int size = 128; ; size *= 4)
        {
            byte[] bytes = ReadUpTo(offset, Math.Min(size, most));
            int end = bytes.AsSpan().IndexOf((byte)0);
            if (end >= 0 || bytes.Length < size || size >= most)
                return System.Text.Encoding.UTF8.GetString(bytes, 0, end < 0 ? bytes.Length : end);
        }
    }

    public void Dispose()
    {
        _owned?.Dispose();
    }

    /// <summary>Elf64_Chdr: ch_type, reserved, ch_size, ch_addralign (ELF gABI, "Section Compression").</summary>
    private static SectionBytes Unpack(ElfObject elf, ElfSection section, Relocations? relocations, FormatLimits limits)
    {
        Span<byte> header = stackalloc byte[CompressionHeaderSize];
        if (section.Size < CompressionHeaderSize || !elf.File.TryReadExactly(section.Offset, header))
            throw new InvalidDataException($"the compression header of {section.Name} is cut off");
        uint type = BinaryPrimitives.ReadUInt32LittleEndian(header);
        ulong size = BinaryPrimitives.ReadUInt64LittleEndian(header[8..]);
        if (type is not (Zlib or Zstd))
            throw new InvalidDataException($"section {section.Name} is compressed in a way that is not known ({type})");
        if (size > (ulong)limits.MaxUnpackedSectionBytes)
            throw new InvalidDataException($"section {section.Name} says that it unpacks to {size} bytes, more than {limits.MaxUnpackedSectionBytes}");

        void Write(Stream to)
        {
            using var packed = new RangeStream(elf.File, (long)section.Offset + CompressionHeaderSize, (long)section.Size - CompressionHeaderSize);
            using Stream unpacked = type == Zlib ? new ZLibStream(packed, CompressionMode.Decompress) : new DecompressionStream(packed);
            try
            {
                Copy(unpacked, to, (long)size);
            }
            catch (Exception e) when (e is ZstdException or EndOfStreamException)
            {
                throw new InvalidDataException($"section {section.Name} can't be unpacked: {e.Message.TrimEnd('.')}");
            }
        }

        if (size > MostInMemory)
        {
            FileDumpBytes file = FileDumpBytes.Temporary(Write);
            return new SectionBytes(file, 0, size, relocations, file);
        }

        var memory = new MemoryStream();
        Write(memory);
        return new SectionBytes(new MemoryDumpBytes(memory.ToArray()), 0, size, relocations);
    }

    /// <summary>Copies exactly as much as the header promises: a stream that never ends is cut there.</summary>
    private static void Copy(Stream from, Stream to, long size)
    {
        byte[] buffer = new byte[256 << 10];
        while (size > 0)
        {
            int got = from.Read(buffer, 0, (int)Math.Min(size, buffer.Length));
            if (got == 0)
                throw new InvalidDataException("a compressed section ends too early");
            to.Write(buffer, 0, got);
            size -= got;
        }
    }

    /// <summary>A part of a file as a stream.</summary>
    private sealed class RangeStream(IDumpBytes file, long start, long length) : Stream
    {
        private long _at;

        public override bool CanRead => true;

        public override bool CanSeek => false;

        public override bool CanWrite => false;

        public override long Length => length;

        public override long Position { get => _at; set => throw new NotSupportedException(); }

        public override int Read(byte[] buffer, int offset, int count) => Read(buffer.AsSpan(offset, count));

        public override int Read(Span<byte> buffer)
        {
            int got = file.Read(start + _at, buffer[..(int)Math.Min(buffer.Length, length - _at)]);
            _at += got;
            return got;
        }

        public override void Flush()
        {
        }

        public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

        public override void SetLength(long value) => throw new NotSupportedException();

        public override void Write(byte[] buffer, int offset, int count) => throw new NotSupportedException();
    }
}
