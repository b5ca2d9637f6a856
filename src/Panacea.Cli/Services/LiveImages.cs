using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Cli.Services;

/// <summary>Repair images of running guests.</summary>
internal sealed class LiveImages : IImageService
{
    private const int CompareBlock = 4096;
    private const int FunctionsNamed = 10;

    /// <inheritdoc/>
    public ImageSummary Build(TargetName target, string file, CancellationToken cancel)
    {
        using GuestKernel guest = GuestKernel.Open(target, cancel);
        long bytes = guest.Image.Save(file);

        // It tells where KASLR has put the kernel of a running guest.
        File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite);
        return Describe(guest.Image, Path.GetFullPath(file), bytes, stoppedUs: 0);
    }

    /// <inheritdoc/>
    public ImageSummary Show(string file)
    {
        using RepairImage image = RepairImage.Open(file, StatePaths.Images);
        return Describe(image, Path.GetFullPath(file), new FileInfo(file).Length, stoppedUs: null);
    }

    /// <inheritdoc/>
    public ImageSummary Show(TargetName target, CancellationToken cancel)
    {
        using GuestKernel guest = GuestKernel.Open(target, cancel);
        return Describe(guest.Image, null, 0, stoppedUs: 0);
    }

    /// <inheritdoc/>
    public ImageMatch Verify(string file, TargetName target, CancellationToken cancel)
    {
        using RepairImage image = RepairImage.Open(file, StatePaths.Images);
        using GuestKernel guest = GuestKernel.Open(target, cancel);
        ImageMeta was = image.Meta, now = guest.Image.Meta;
        if (was.BuildId != now.BuildId || was.Banner != now.Banner)
        {
            return new ImageMatch(false, [$"the image is of kernel {was.Release} (build id {was.BuildId ?? "none"})", $"the guest runs kernel {now.Release} (build id {now.BuildId ?? "none"})"]);
        }

        var notes = new List<string>();
        if (was.TextBase != now.TextBase)
            notes.Add("the guest has been booted since: the same kernel lies elsewhere (KASLR), so its text was not compared");
        else if (ChangedFunctions(image, guest, cancel) is { Count: > 0 } changed)
            notes.Add($"kernel text differs in {changed.Count} functions (tracing, static branches and live patches change text too): {string.Join(", ", changed.Take(FunctionsNamed))}{(changed.Count > FunctionsNamed ? ", …" : "")}");
        AddModules(notes, "loaded", now.Modules.Select(m => m.Name).Except(was.Modules.Select(m => m.Name)));
        AddModules(notes, "unloaded", was.Modules.Select(m => m.Name).Except(now.Modules.Select(m => m.Name)));
        return new ImageMatch(true, notes);
    }

    private static void AddModules(List<string> notes, string what, IEnumerable<string> names)
    {
        string list = string.Join(' ', names);
        if (list.Length > 0)
            notes.Add($"modules {what} since: {list}");
    }

    /// <summary>Functions whose live bytes are not those of the image, by name, in address order.</summary>
    private static List<string> ChangedFunctions(RepairImage image, GuestKernel guest, CancellationToken cancel)
    {
        AddressSpace space = guest.Image.SpaceOver(guest.View.Memory);
        byte[] pristine = new byte[CompareBlock], live = new byte[CompareBlock];
        var names = new List<string>();
        for (ulong at = image.Meta.TextStart; at < image.Meta.TextEnd; at += CompareBlock)
        {
            cancel.ThrowIfCancellationRequested();
            int length = (int)Math.Min(CompareBlock, image.Meta.TextEnd - at);
            Span<byte> one = pristine.AsSpan(0, length), other = live.AsSpan(0, length);
            if (!image.TryReadCode(at, one))
                continue;
            space.Read(new VirtualAddress(at), other, "kernel text");
            for (int i = one.CommonPrefixLength(other); i < length; i++)
            {
                if (one[i] == other[i])
                    continue;
                string name = image.Symbolize(at + (ulong)i)?.Name ?? $"0x{at + (ulong)i:x}";
                if (names.Count == 0 || names[^1] != name)
                    names.Add(name);
            }
        }

        return names;
    }

    private static ImageSummary Describe(RepairImage image, string? file, long bytes, long? stoppedUs)
    {
        ImageMeta meta = image.Meta;
        return new ImageSummary(
            image.Id, meta.Release, meta.BuildId, file, bytes, image.BuildUs, stoppedUs, image.SymbolCount, image.Types.Btf is { } btf ? btf.EndId - 1 : 0, image.OrcCount,
            (long)(meta.TextEnd - meta.TextStart), [.. meta.Modules.Select(m => m.Name)], [.. meta.DeathPoints.Select(p => p.Symbol)], meta.Without);
    }
}
