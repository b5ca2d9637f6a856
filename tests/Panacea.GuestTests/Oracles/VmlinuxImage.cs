using Panacea.Formats;
using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Memory;

namespace Panacea.GuestTests.Oracles;

/// <summary>A kernel that never ran, and its repair image: its vmlinux laid into guest memory as a boot loader does, where it was linked to run, with page tables as the kernel makes them. So what is
/// asked of the image goes the whole way, from the search for kallsyms on, with text that no boot has patched.</summary>
internal sealed class VmlinuxImage : IDisposable
{
    private const ulong LargePage = PageTableBuilder.Size2M;
    private readonly ulong _altinstrAux;
    private readonly byte[] _altinstrAuxBytes = [];

    /// <summary>Builds the image.</summary>
    /// <param name="vmlinux">The ELF kernel with its symbol table.</param>
    /// <param name="cache">Directory for the unpacked image.</param>
    public VmlinuxImage(string vmlinux, string cache)
    {
        using var file = new FileDumpBytes(vmlinux);
        Assert.True(ElfObject.TryRead(file, FormatLimits.Default, out ElfObject elf, out string whyNot), whyNot);

        // Per-CPU data is linked at zero.
        ElfSection[] sections = [.. elf.Sections.Where(s => s.IsLoaded && s.Address >= KernelMapping.KernelMapStart)];
        ulong end = (sections.Max(s => s.Address + s.Size) + LargePage - 1) & ~(LargePage - 1);
        var memory = new SparsePhysicalMemory(end - KernelMapping.KernelMapStart);
        foreach (ElfSection section in sections.Where(s => !s.IsEmpty && s.Size > 0))
        {
            byte[] bytes = new byte[section.Size];
            Assert.Equal(bytes.Length, file.Read((long)section.Offset, bytes));
            memory.Write(section.Address - KernelMapping.KernelMapStart, bytes);
            if (section.Name == ".altinstr_aux")
                (_altinstrAux, _altinstrAuxBytes) = (section.Address, bytes);
        }

        ElfSymbols symbols = ElfSymbols.Read(elf, FormatLimits.Default);
        ulong root = Address("init_top_pgt") - KernelMapping.KernelMapStart, text = Address("_text"), textEnd = Address("_etext"), readOnlyEnd = Address("__end_rodata");

        // The kernel's own tables stand there in a form that is made usable only in early boot: these take their place. Large pages need two more.
        memory.Write(root, new byte[4 * PageTableBuilder.Size4K]);
        var tables = new PageTableBuilder(memory, PagingMode.FourLevel, root);
        for (ulong at = text & ~(LargePage - 1); at < end; at += LargePage)
        {
            PageAccess access = at < textEnd ? PageAccess.None : PageAccess.NoExecute | (at < readOnlyEnd ? PageAccess.None : PageAccess.Writable);
            tables.Map(at, at - KernelMapping.KernelMapStart, LargePage, access);
        }

        Assert.True(tables.TablesEnd <= root + (4 * PageTableBuilder.Size4K), "the page tables have grown into the kernel's data");
        Image = RepairImageBuilder.Build(memory, [new VcpuControlState(0x8005_0033, root, 0x20, 0xd01, 0)], cache, TargetLimits.Default);

        ulong Address(string name) => Assert.Single(symbols.Find(name)).Address;
    }

    /// <summary>The image.</summary>
    public RepairImage Image { get; }

    /// <summary>What is known of control flow, of text as it is before boot patches it.</summary>
    public IControlFlowHints Flow(CodeMap map) => new UnpatchedFlow(map, _altinstrAux, _altinstrAuxBytes, Image);

    /// <inheritdoc/>
    public void Dispose() => Image.Dispose();
}
