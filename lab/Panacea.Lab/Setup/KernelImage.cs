using System.Buffers.Binary;
using System.IO.Compression;

namespace Panacea.Lab.Setup;

/// <summary>Takes the ELF kernel out of a bootable x86 image (Documentation/arch/x86/boot.rst: setup_sects, payload_offset, payload_length).</summary>
public static class KernelImage
{
    /// <summary>Decompresses the payload of a bzImage to a file.</summary>
    /// <exception cref="LabException">Not a bzImage, or compressed by a method whose program is not installed.</exception>
    public static async Task ExtractAsync(string image, string vmlinux, CancellationToken cancel = default)
    {
        byte[] bytes = await File.ReadAllBytesAsync(image, cancel);
        if (bytes.Length < 0x250 || !bytes.AsSpan(0x202, 4).SequenceEqual("HdrS"u8))
            throw new LabException($"{image} is not a bootable x86 Linux image");
        long offset = (((bytes[0x1f1] is 0 ? 4 : bytes[0x1f1]) + 1L) * 512) + BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(0x248));
        long length = BinaryPrimitives.ReadUInt32LittleEndian(bytes.AsSpan(0x24c));
        if (length < 8 || offset + length > bytes.Length)
            throw new LabException($"the payload of {image} lies outside the file");
        ReadOnlyMemory<byte> payload = bytes.AsMemory((int)offset, (int)length);
        uint magic = BinaryPrimitives.ReadUInt32LittleEndian(payload.Span);
        if ((magic & 0xffff) == 0x8b1f)
        {
            using var gzip = new GZipStream(new MemoryStream(payload.ToArray()), CompressionMode.Decompress);
            using FileStream output = File.Create(vmlinux);
            await gzip.CopyToAsync(output, cancel);
            return;
        }

        // The build appends the uncompressed size, which these programs take for damage.
        string packed = vmlinux + ".packed";
        await File.WriteAllBytesAsync(packed, payload[..^4].ToArray(), cancel);
        string program = magic switch
        {
            0x587a37fd => "xz",
            0xfd2fb528 => "zstd",
            0x184c2102 => "lz4",
            _ => throw new LabException($"{image} is compressed by an unknown method (0x{magic:x8})"),
        };
        await File.WriteAllBytesAsync(vmlinux, await HostCommand.MustBytesAsync(program, ["-dc", packed], cancel), cancel);
        File.Delete(packed);
    }
}
