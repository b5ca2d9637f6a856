using System.Buffers.Binary;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Image;

/// <summary>Where Linux patches its own text while it runs: jump labels, static calls, the entries of traced functions, probes.</summary>
public static class TextPatches
{
    /// <summary>Bytes of the longest instruction that is patched in.</summary>
    public const int PatchBytes = 5;

    /// <summary>Who patches such a place: an instruction of at most five bytes at a known site, whose first byte may be an int3 for a moment.</summary>
    /// <param name="kernel">The kernel over the guest's memory.</param>
    /// <param name="image">The image with the text as it was.</param>
    /// <param name="place">Guest-virtual address of the first byte that differs.</param>
    /// <param name="before">The byte as it was.</param>
    /// <param name="after">The byte as it is.</param>
    /// <returns>Null where nobody is known to.</returns>
    public static string? Patcher(LinuxKernel kernel, RepairImage image, ulong place, byte before, byte after)
    {
        if (image.ControlFlowAt(place) is { } flow)
        {
            for (ulong back = 0; back < PatchBytes; back++)
            {
                if (flow.ExtraTargets(place - back).Count > 0)
                    return "jump labels";
            }
        }

        if (IsTraced(kernel, image, place))
            return "function tracing";
        if (IsStaticCall(kernel, place))
            return "static calls";
        if (before == 0xcc && Subsystems.Fuses.IsStub(kernel, place))
            return "fuses";
        return (before, after) switch
        {
            (_, 0xcc) => "breakpoints",

            // A probe that was optimised into a jump (arch/x86/kernel/kprobes/opt.c).
            (_, 0xe9) => "probes",

            // LOCK becomes a prefix without meaning while there is one CPU (arch/x86/kernel/alternative.c, alternatives_smp_switch).
            (0xf0, 0x3e) or (0x3e, 0xf0) => "alternatives",
            _ => null,
        };
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
