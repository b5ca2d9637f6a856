using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Text of the kernel and its modules against an image that was made earlier in the same boot. Linux patches its own text while it runs: jump labels, static calls, the entries of traced
/// functions, probes. Where such a place is known it may differ; what is left is told.</summary>
public sealed class TextValidator : IValidator
{
    private const int Page = 4096, MaxEntry = 16;

    /// <inheritdoc/>
    public string Name => "text";

    /// <inheritdoc/>
    public string Description => "kernel and module text against an image made earlier in the same boot, but for what the kernel itself patches";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        var notes = new CheckNotes(context, "text");
        if (context.Pristine is not { } image)
        {
            notes.Missing("there is no image made earlier in the same boot to compare with");
            return notes.Done();
        }

        ImageMeta now = context.Kernel.Image.Meta, then = image.Meta;
        if (then.TextBase != now.TextBase || then.TextStart != now.TextStart || then.TextEnd != now.TextEnd || then.Release != now.Release || then.BuildId != now.BuildId)
        {
            notes.Missing("the image is of another kernel or another boot: its text lies elsewhere");
            return notes.Done();
        }

        Region(context, notes, image, then.TextStart, then.TextEnd - then.TextStart, null);
        List<LinuxModule> loaded = context.Settled(() => Modules.Enumerate(context.Kernel, context.Limits));
        foreach (ImageModule module in then.Modules)
        {
            // A module that has been loaded again lies elsewhere, or was built anew.
            foreach (ModuleMemory memory in module.Memory.Where(m => m.IsText))
            {
                if (loaded.Exists(l => l.Name == module.Name && l.State == 0 && l.Memory.Contains(memory)))
                    Region(context, notes, image, memory.Start, memory.Size, module.Name);
                else
                    notes.Skip($"the module {module.Name}, which is not where it was");
            }
        }

        return notes.Done();
    }

    private static void Region(CheckContext context, CheckNotes notes, RepairImage image, ulong start, ulong size, string? module)
    {
        LinuxKernel kernel = context.Kernel;
        byte[] before = new byte[Page], after = new byte[Page];
        ulong last = ulong.MaxValue;
        for (ulong at = start; at - start < size; at += Page)
        {
            int length = (int)Math.Min(Page, size - (at - start));
            if (!image.TryReadCode(at, before.AsSpan(0, length)))
                continue;
            if (!kernel.Space.TryRead(new VirtualAddress(at), after.AsSpan(0, length), out MemoryFault fault))
            {
                notes.Missing($"text of {module ?? "the kernel"}: {fault}");
                return;
            }

            notes.Count("kilobytes of text", (length + 1023) / 1024);
            if (before.AsSpan(0, length).SequenceEqual(after.AsSpan(0, length)))
                continue;
            for (int i = 0; i < length; i++)
            {
                ulong place = at + (ulong)i;
                if (before[i] == after[i] || (last != ulong.MaxValue && place - last < MaxEntry))
                    continue;
                last = place;
                Differs(context, notes, image, place, before[i], after[i]);
            }
        }
    }

    private static void Differs(CheckContext context, CheckNotes notes, RepairImage image, ulong place, byte before, byte after)
    {
        string? patched = TextPatches.Patcher(context.Kernel, image, place, before, after);
        notes.Count(patched is null ? "places that differ" : $"places patched by {patched}");
        if (patched is null)
            notes.Found(
                "differs", Confidence.Low, $"the text at 0x{place:x}, {image.Symbolize(place)?.ToString() ?? "outside of all functions"}, has changed since the image was made",
                $"was 0x{before:x2}, is 0x{after:x2}");
    }
}
