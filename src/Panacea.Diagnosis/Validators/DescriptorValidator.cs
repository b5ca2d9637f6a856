using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Diagnosis.Validators;

/// <summary>What each CPU enters the kernel by: its descriptor table, and the task state segment that names the stacks of entries and exceptions (arch/x86/kernel/cpu/common.c,
/// arch/x86/mm/cpu_entry_area.c).</summary>
public sealed class DescriptorValidator : IValidator
{
    /// <summary>CPU_ENTRY_AREA_PER_CPU (arch/x86/include/asm/pgtable_areas.h): behind the page of the trap table.</summary>
    private const ulong Areas = 0xffff_fe00_0000_1000;

    /// <summary>GDT_ENTRY_TSS, GDT_ENTRY_LDT, GDT_ENTRY_TLS_MIN, GDT_ENTRY_CPUNODE (arch/x86/include/asm/segment.h).</summary>
    private const int Entries = 16, TaskState = 8, LocalTable = 10, FirstTls = 12, LastTls = 14, CpuNode = 15;

    /// <summary>Descriptor bits: "accessed" (which the CPU itself sets), "no system segment", DPL, "present".</summary>
    private const ulong Accessed = 1UL << 40, Ordinary = 1UL << 44, Level = 3UL << 45, Present = 1UL << 47;

    /// <summary>sizeof(struct x86_hw_tss) - 1: less does not reach the last stack.</summary>
    private const ulong LeastLimit = 0x67;

    /// <summary>gdt_page: the descriptors that are the same on every CPU. __KERNEL_CS, __KERNEL_DS and so on are their places times eight.</summary>
    private static readonly (int Entry, ulong Value, string Name)[] Fixed =
    [
        (0, 0, "null"), (1, 0x00cf_9b00_0000_ffff, "32-bit kernel code"), (2, 0x00af_9b00_0000_ffff, "kernel code"), (3, 0x00cf_9300_0000_ffff, "kernel data"),
        (4, 0x00cf_fb00_0000_ffff, "32-bit user code"), (5, 0x00cf_f300_0000_ffff, "user data"), (6, 0x00af_fb00_0000_ffff, "user code"), (7, 0, "unused"),
    ];

    /// <summary>Order of x86_hw_tss.ist (IST_INDEX_DF and so on, arch/x86/include/asm/page_64_types.h).</summary>
    private static readonly string[] ExceptionStacks = ["df", "nmi", "db", "mce"];

    /// <inheritdoc/>
    public string Name => "descriptors";

    /// <inheritdoc/>
    public string Description => "each CPU's descriptor table, task state segment, entry and exception stacks";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "descriptors");
        AddressLayout layout = AddressLayout.Read(kernel);
        foreach (int cpu in Cpus.Online(kernel))
            notes.Guard($"descriptors of CPU {cpu}", () => OfCpu(kernel, notes, layout, cpu));
        return notes.Done();
    }

    private static void OfCpu(LinuxKernel kernel, CheckNotes notes, AddressLayout layout, int cpu)
    {
        // Areas are shuffled since 6.2 (commit 97e3d26b5e5f, "x86/mm: Randomize per-cpu entry area").
        ulong place = kernel.Image.TryFindPerCpuSymbol("_cea_offset", out _) ? kernel.Space.ReadUInt32(new VirtualAddress(PerCpu.Address(kernel, "_cea_offset", cpu)), "_cea_offset") : (ulong)cpu;
        ulong area = unchecked(Areas + (place * (ulong)kernel.Image.Types.SizeOf("cpu_entry_area"))), table = PerCpu.Address(kernel, "gdt_page", cpu);
        notes.Count("CPUs");

        // Through the area the CPU has its table read-only.
        Same(kernel, notes, cpu, unchecked(area + kernel.Offset("cpu_entry_area.gdt")), table, "descriptor table");
        byte[] raw = new byte[Entries * 8];
        kernel.Space.Read(new VirtualAddress(table), raw, "gdt_page");
        ulong Entry(int entry) => BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(entry * 8));
        foreach ((int entry, ulong value, string name) in Fixed)
        {
            if ((Entry(entry) & ~Accessed) != (value & ~Accessed))
                Found("segment", Confidence.High, $"descriptor {entry} of CPU {cpu}, {name}, is 0x{Entry(entry):x}, not 0x{value:x}");
        }

        // Limit and place of vdso's getcpu: CPU and node (setup_getcpu).
        if ((LimitOf(Entry(CpuNode)) & 0xfff) != (ulong)cpu || (Entry(CpuNode) & (Ordinary | Level | Present)) != (Ordinary | Level | Present))
            Found("segment", Confidence.High, $"descriptor {CpuNode} of CPU {cpu}, which tells user code its number, is 0x{Entry(CpuNode):x}");
        for (int tls = FirstTls; tls <= LastTls; tls++)
        {
            // fill_ldt makes nothing but ordinary segments of level 3: another one would be a gate into the kernel.
            if (Entry(tls) is var own && own != 0 && (own & (Ordinary | Level)) != (Ordinary | Level))
                Found("segment", Confidence.High, $"descriptor {tls} of CPU {cpu} is of the running process and no segment of user code: 0x{own:x}");
        }

        // native_set_ldt leaves the last one there when its process goes.
        if (Entry(LocalTable) is var local && local != 0)
        {
            ulong at = BaseOf(local, Entry(LocalTable + 1));
            if (TypeOf(local) != 2 || (local & (Ordinary | Level)) != 0 || layout.RegionOf(at) is AddressRegion.User or AddressRegion.NonCanonical or AddressRegion.Hole)
                Found("ldt", Confidence.High, $"the local descriptor table of CPU {cpu} is 0x{local:x} at 0x{at:x}");
        }

        ulong state = unchecked(area + kernel.Offset("cpu_entry_area.tss")), descriptor = Entry(TaskState), names = BaseOf(descriptor, Entry(TaskState + 1));
        if (names != state || (descriptor & Present) == 0 || (descriptor & (Ordinary | Level)) != 0 || (TypeOf(descriptor) & ~2) != 9 || LimitOf(descriptor) < LeastLimit)
            Found("tss", Confidence.High, $"the task state segment of CPU {cpu} is 0x{descriptor:x} at 0x{names:x}, and lies at 0x{state:x}");
        if (kernel.Image.TryFindPerCpuSymbol("cpu_tss_rw", out _))
            Same(kernel, notes, cpu, state, PerCpu.Address(kernel, "cpu_tss_rw", cpu), "task state segment");
        ulong top = unchecked(area + kernel.Offset("cpu_entry_area.entry_stack_page") + (ulong)kernel.Image.Types.SizeOf("entry_stack"));
        if (kernel.Read(state, "tss_struct.x86_tss.sp0") is var entryStack && entryStack != top)
            Found("entry-stack", Confidence.High, $"CPU {cpu} enters the kernel on the stack 0x{entryStack:x}, not on 0x{top:x}");

        List<KernelStack> stacks = Stacks.Of(kernel, cpu, 0);
        ulong exceptions = kernel.ReadU64(PerCpu.Address(kernel, "cea_exception_stacks", cpu), "cea_exception_stacks");
        if (exceptions != unchecked(area + kernel.Offset("cpu_entry_area.estacks")))
            Found("exception-stack", Confidence.High, $"the exception stacks of CPU {cpu} are at 0x{exceptions:x}, outside of its area at 0x{area:x}");
        for (int i = 0; i < ExceptionStacks.Length; i++)
        {
            int at = stacks.FindIndex(s => s.Name == ExceptionStacks[i]);
            if (at < 0)
                continue;
            notes.Count("exception stacks");
            if (kernel.Read(state, $"tss_struct.x86_tss.ist[{i}]") is var ist && ist != stacks[at].End)
                Found("exception-stack", Confidence.High, $"CPU {cpu} takes 0x{ist:x} for its {ExceptionStacks[i]} stack, which ends at 0x{stacks[at].End:x}");
        }

        void Found(string what, Confidence sure, string text) => notes.Found(what, sure, text, $"gdt_page 0x{table:x}", $"cpu_entry_area 0x{area:x}");
    }

    /// <summary>Two addresses that are one page.</summary>
    private static void Same(LinuxKernel kernel, CheckNotes notes, int cpu, ulong seen, ulong own, string what)
    {
        if (!kernel.Space.TryTranslate(new VirtualAddress(own), out Translation behind, out _) || !kernel.Space.TryTranslate(new VirtualAddress(seen), out Translation there, out _))
        {
            notes.Missing($"where the {what} of CPU {cpu} lies could not be read");
            return;
        }

        if (there.Physical != behind.Physical)
            notes.Found("mapping", Confidence.High, $"the {what} of CPU {cpu} is at {behind.Physical}, and its entry area shows {there.Physical}", $"0x{own:x}", $"0x{seen:x}");
    }

    private static ulong LimitOf(ulong descriptor) => (descriptor & 0xffff) | (descriptor >> 32 & 0xf_0000);

    private static ulong BaseOf(ulong descriptor, ulong upper) => (descriptor >> 16 & 0xff_ffff) | (descriptor >> 32 & 0xff00_0000) | (upper << 32);

    private static int TypeOf(ulong descriptor) => (int)(descriptor >> 40 & 0xf);
}
