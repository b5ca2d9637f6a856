using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Text of the kernel and its modules against an image that was made earlier in the same boot. Linux patches its own text while it runs: jump labels, static calls, the entries of traced
/// functions, probes. Where such a place is known it may differ; what is left is told.</summary>
public sealed class TextValidator : IValidator
{
    private const int Page = 4096, PatchBytes = 5, MaxEntry = 16;

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
        string? patched = KernelPatches(context, image, place, after);
        notes.Count(patched is null ? "places that differ" : $"places patched by {patched}");
        if (patched is null)
            notes.Found(
                "differs", Confidence.Low, $"the text at 0x{place:x}, {image.Symbolize(place)?.ToString() ?? "outside of all functions"}, has changed since the image was made",
                $"was 0x{before:x2}, is 0x{after:x2}");
    }

    /// <summary>Who patches such places: an instruction of at most five bytes at a known site, whose first byte may be an int3 for a moment.</summary>
    private static string? KernelPatches(CheckContext context, RepairImage image, ulong place, byte after)
    {
        if (image.ControlFlowAt(place) is { } flow)
        {
            for (ulong back = 0; back < PatchBytes; back++)
            {
                if (flow.ExtraTargets(place - back).Count > 0)
                    return "jump labels";
            }
        }

        if (IsTraced(context.Kernel, image, place))
            return "function tracing";
        return IsStaticCall(context.Kernel, place) ? "static calls" : after == 0xcc ? "breakpoints" : null;
    }

    /// <summary>CONFIG_DYNAMIC_FTRACE: the first five bytes of a function behind an ENDBR64 are a NOP or a call (arch/x86/kernel/ftrace.c); BPF trampolines use them too.</summary>
    private static bool IsTraced(LinuxKernel kernel, RepairImage image, ulong place)
    {
        if (image.Symbolize(place) is not { Offset: < 4 + PatchBytes } symbol)
            return false;
        Span<byte> code = stackalloc byte[4 + PatchBytes];
        if (!kernel.Space.TryRead(new VirtualAddress(place - symbol.Offset), code, out _))
            return false;

        // ENDBR64, or what it is sealed to where nobody takes the function's address (arch/x86/include/asm/ibt.h, gen_endbr_poison: 66 0f 1f 00, later 0f 1f 40 d6).
        int entry = code.StartsWith((ReadOnlySpan<byte>)[0xf3, 0x0f, 0x1e, 0xfa]) || code.StartsWith((ReadOnlySpan<byte>)[0x66, 0x0f, 0x1f, 0x00])
            || code.StartsWith((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x40, 0xd6]) ? 4 : 0;
        return symbol.Offset >= (ulong)entry && symbol.Offset < (ulong)(entry + PatchBytes)
            && (code[entry] is 0xe8 or 0xe9 or 0xcc || code[entry..].StartsWith((ReadOnlySpan<byte>)[0x0f, 0x1f, 0x44]));
    }

    /// <summary>The kernel's list of static call sites: s32 distance to the site, s32 to its key (struct static_call_site, include/linux/static_call_types.h), sorted at boot by key.</summary>
    private static bool IsStaticCall(LinuxKernel kernel, ulong place)
    {
        if (!kernel.Image.TryFindSymbol("__start_static_call_sites", out ulong start) || !kernel.Image.TryFindSymbol("__stop_static_call_sites", out ulong end) || end < start || end - start > 1 << 20)
            return false;
        byte[] sites = new byte[(int)(end - start)];
        if (!kernel.Space.TryRead(new VirtualAddress(start), sites, out _))
            return false;
        for (int i = 0; i + 8 <= sites.Length; i += 8)
        {
            ulong site = unchecked(start + (ulong)i + (ulong)(long)BinaryPrimitives.ReadInt32LittleEndian(sites.AsSpan(i)));
            if (unchecked(place - site) < PatchBytes)
                return true;
        }

        // Trampolines are patched too, and are named.
        return kernel.Image.Symbolize(place)?.Name.StartsWith("__SCT__", StringComparison.Ordinal) ?? false;
    }
}
