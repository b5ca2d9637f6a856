using System.Buffers.Binary;
using System.IO.Hashing;
using System.Text.Json;
using Panacea.Kernel.Image;
using Panacea.Kernel.Tests.Image;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

public static partial class FuzzTargets
{
    private const int ImageHeader = 32, ImageEntry = 48;

    /// <summary>Files of repair images: packed and unpacked.</summary>
    internal static byte[][] ImageFiles()
    {
        using var directory = new TemporaryDirectory();
        using RepairImage image = KernelGuest.Build(Make(KernelShape.Linux612), directory.Path);
        ImageContainer.Section[] small = [.. image.Sections.Where(s => s.Bytes.Length < 8000)];
        ImageContainer.Write(directory.File("packed"), small, 3);
        ImageContainer.Write(directory.File("unpacked"), [.. small.Take(8)], null);
        return [File.ReadAllBytes(directory.File("packed")), File.ReadAllBytes(directory.File("unpacked"))];
    }

    /// <summary>A repair image's file, whose table's checksum is put right: somebody may mean harm.</summary>
    public static void ImageFile(ReadOnlySpan<byte> data)
    {
        byte[] bytes = data.ToArray();
        if (bytes.Length >= ImageHeader)
        {
            int count = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(12));
            BinaryPrimitives.WriteInt64LittleEndian(bytes.AsSpan(16), bytes.Length);
            if (count is > 0 and < 10_000 && ImageHeader + (count * ImageEntry) <= bytes.Length)
                BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), XxHash3.HashToUInt64(bytes.AsSpan(ImageHeader, count * ImageEntry)));
        }

        using var stream = new MemoryStream(bytes);
        try
        {
            foreach (ImageContainer.Entry entry in ImageContainer.ReadTable(stream, "fuzz"))
                Require(ImageContainer.ReadSection(stream, entry, "fuzz").Length == entry.RawLength);
        }
        catch (RepairImageException)
        {
            // The promised error.
        }
    }

    /// <summary>The sections of an image with right checksums, one of them damaged; and every question that is asked of an image.</summary>
    internal static void ImageSections(IReadOnlyList<ImageContainer.Section> sections, ulong text)
    {
        RepairImage image;
        try
        {
            image = RepairImage.FromSections(sections);
        }
        catch (Exception e) when (e is RepairImageException or JsonException or ArgumentException or InvalidDataException or OverflowException)
        {
            // What opening a file turns into its own error.
            return;
        }

        using (image)
        {
            Stored(() => Ask(image, text));
        }
    }

    private static void Ask(RepairImage image, ulong text)
    {
        byte[] code = new byte[16];
        foreach (ulong address in (ulong[])[text, text + 0x1003, text + 0x1_0000, 0xffff_ffff_c000_0010, 0, ulong.MaxValue])
        {
            _ = image.Symbolize(address);
            _ = image.TryFindFunction(address, out _);
            _ = image.TryFind(address, out _);
            _ = image.IsText(address);
            _ = image.ModuleOf(address);
            _ = image.TryReadCode(address, code);
            _ = image.ControlFlowAt(address)?.ExtraTargets(address);
        }

        _ = image.FindAll("ct_int").Count + image.EnumerateSymbols().Take(50).Count();
    }

    private static void Stored(Action ask)
    {
        try
        {
            ask();
        }
        catch (InvalidDataException)
        {
            // The promised error for damaged stored bytes.
        }
    }

    /// <summary>Making an image of a damaged guest, and looking at the guest through it.</summary>
    internal static void MakeImage(FuzzedGuest guest, string cache)
    {
        try
        {
            using RepairImage image = KernelGuest.Build(guest.Guest, cache, limits: Small);
            LinuxKernel kernel = image.KernelOver(guest.Guest.Memory);
            foreach ((string name, Action<LinuxKernel> look) in guest.Looks)
                guest.Look(kernel, name, look);
        }
        catch (Exception e) when (e is NotLinuxException or RepairImageException)
        {
            // The promised errors.
        }
    }
}
