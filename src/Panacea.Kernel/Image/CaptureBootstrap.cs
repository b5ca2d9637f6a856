using System.Text;
using Panacea.Formats;
using Panacea.Formats.VmcoreInfo;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Kernel.Image;

/// <summary>From a capture of a guest to the mapping of its kernel: by VMCOREINFO, else by control registers, else, in bare memory, by searching it for VMCOREINFO, of which
/// that of the last boot counts.</summary>
internal static class CaptureBootstrap
{
    /// <summary>EFER.LME and LMA.</summary>
    private const ulong LongMode = 0x500;

    /// <summary>Notes that look right in bare memory and lead nowhere, before the search gives up: earlier kernels and crash kernels leave theirs behind.</summary>
    private const int MaxCandidates = 64;

    private const int PageSize = 4096, NoteBytes = 2 * PageSize, SearchChunk = 1 << 20;

    /// <exception cref="NotLinuxException">No Linux kernel can be found in it.</exception>
    public static BootstrapResult Find(IGuestCapture capture, TargetLimits limits)
    {
        try
        {
            return FindAny(capture, limits);
        }
        catch (NotLinuxException e) when (!capture.IsBareMemory && capture.Missing.Count > 0)
        {
            throw new NotLinuxException($"{e.Message}; what is needed may not be in the dump: {string.Join("; ", capture.Missing)}");
        }
    }

    private static BootstrapResult FindAny(IGuestCapture capture, TargetLimits limits)
    {
        ulong trapTable = capture.Vcpus.FirstOrDefault(v => v.Knows(RegisterGroups.TrapTable) && new VirtualAddress(v.TrapTable).IsKernelHalf)?.TrapTable ?? 0;
        string whyNot = "the dump has no VMCOREINFO";
        if (!capture.VmcoreInfo.IsEmpty)
        {
            if (VmcoreInfoData.TryParse(capture.VmcoreInfo.Span, FormatLimits.Default, out VmcoreInfoData info, out whyNot)
                && TryFind(capture.Memory, info, trapTable, out BootstrapResult result, out whyNot))
                return result;
        }

        VcpuControlState[] vcpus = [.. capture.Vcpus.Where(v => v.Knows(RegisterGroups.Control)).Select(ControlState)];
        if (vcpus.Length > 0)
            return KernelBootstrap.Find(capture.Memory, vcpus);
        if (capture.IsBareMemory)
            return Search(capture.Memory, limits);
        throw new NotLinuxException($"no Linux kernel can be found in the dump: {whyNot}, and it has no control registers");
    }

    /// <summary>By the kernel's own word: its page tables lie in its image, and phys_base tells where that is (__pa_symbol, arch/x86/include/asm/page.h).</summary>
    /// <remarks>arch/x86/kernel/vmcore_info_64.c (crash_core_64.c before 6.9) exports phys_base, init_top_pgt, pgtable_l5_enabled and sme_mask; kernel/vmcore_info.c swapper_pg_dir and
    /// _stext.</remarks>
    public static bool TryFind(IGuestMemory memory, VmcoreInfoData info, ulong trapTable, out BootstrapResult result, out string whyNot)
    {
        result = null!;
        whyNot = "its VMCOREINFO does not tell where the kernel's page tables are (swapper_pg_dir, phys_base)";
        if ((!info.TryGetSymbol("swapper_pg_dir", out ulong table) && !info.TryGetSymbol("init_top_pgt", out table)) || !info.TryGetNumber("phys_base", out long physBase)
            || table < KernelMapping.KernelMapStart)
            return false;
        PagingMode mode = info.TryGetNumber("pgtable_l5_enabled", out long five) && five != 0 ? PagingMode.FiveLevel : PagingMode.FourLevel;
        ulong encryption = info.TryGetNumber("sme_mask", out long mask) ? unchecked((ulong)mask) : 0;
        var root = new PhysicalAddress(unchecked(table - KernelMapping.KernelMapStart + (ulong)physBase));
        if (!KernelMapping.TryEnumerate(memory, root, mode, encryption, out IReadOnlyList<KernelExtent> extents, out MemoryFault fault))
        {
            whyNot = $"the page tables that its VMCOREINFO names can't be read ({fault})";
            return false;
        }

        bool hasText = info.TryGetSymbol("_stext", out ulong text) ? extents.Any(e => e.Executable && text >= e.Start && text < e.End) : KernelBootstrap.IsWhole(extents);
        if (!hasText)
        {
            whyNot = "the page tables that its VMCOREINFO names map no kernel";
            return false;
        }

        result = new BootstrapResult(new AddressSpace(memory, root, mode, encryption), extents, trapTable);
        return true;
    }

    /// <summary>A dump's notes do not tell EFER. Where paging is on in a dump of a 64-bit system, long mode is taken for granted; a vCPU in firmware then maps no kernel.</summary>
    private static VcpuControlState ControlState(VcpuRegisters vcpu) =>
        new(vcpu.Cr0, vcpu.Cr3, vcpu.Cr4, vcpu.Knows(RegisterGroups.Efer) ? vcpu.Efer : LongMode, vcpu.Knows(RegisterGroups.TrapTable) ? vcpu.TrapTable : 0);

    private static BootstrapResult Search(IGuestMemory memory, TargetLimits limits)
    {
        int candidates = 0;
        var found = new List<BootstrapResult>();
        string whyNot = "it holds no VMCOREINFO";
        long left = limits.MaxSearchBytes;
        byte[] chunk = new byte[SearchChunk], note = new byte[NoteBytes];
        foreach (PhysicalRange range in memory.Ranges)
        {
            for (ulong at = 0; at < range.Length && left > 0; at += SearchChunk, left -= SearchChunk)
            {
                Span<byte> bytes = chunk.AsSpan(0, (int)Math.Min(SearchChunk, range.Length - at));
                if (!memory.TryRead(range.Start.Plus(at), bytes, out _))
                    continue;
                for (int page = 0; page + PageSize <= bytes.Length; page += PageSize)
                {
                    if (!VmcoreInfoData.IsNoteHeader(bytes[page..]) || candidates++ >= MaxCandidates)
                        continue;
                    Span<byte> whole = note.AsSpan(0, (int)Math.Min(NoteBytes, range.Length - at - (ulong)page));
                    if (memory.TryRead(range.Start.Plus(at + (ulong)page), whole, out _)
                        && VmcoreInfoData.TryParseNote(whole, FormatLimits.Default, out VmcoreInfoData info, out _)
                        && TryFind(memory, info, 0, out BootstrapResult result, out whyNot) && found.TrueForAll(f => f.Space.Root != result.Space.Root))
                        found.Add(result);
                }
            }
        }

        if (found.Count > 0)
            return LastBooted(memory, found);
        throw new NotLinuxException(
            $"no Linux kernel can be found in the memory image: {whyNot}. Where RAM above 4 GiB was stored without the hole below it, say how much of the image lies below 4 GiB");
    }

    /// <summary>The kernel that booted last; where that can't be told, the first in memory, with what is not known of it.</summary>
    private static BootstrapResult LastBooted(IGuestMemory memory, List<BootstrapResult> found)
    {
        if (found.Count == 1)
            return found[0];
        List<BootstrapResult> last = found.FindAll(f => RealModeTrampoline.IsOf(memory, f));
        if (last.Count == 1)
            return last[0];
        return (last.Count > 0 ? last : found)[0] with
        {
            Doubt = $"the memory image holds kernels of {found.Count} boots, and which of them ran last can't be told: what follows is of the one with its page tables at "
                + $"0x{(last.Count > 0 ? last : found)[0].Space.Root.Value:x}; a dump with registers or VMCOREINFO says which",
        };
    }
}
