using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using Panacea.Formats.Orc;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Formats;
using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>Which kernel's shapes a synthetic kernel has.</summary>
public enum KernelShape
{
    /// <summary>6.1: module.core_layout, per-CPU current_task and __preempt_count, ORC v1, kallsyms offsets first.</summary>
    Linux61,

    /// <summary>6.12: module.mem[], pcpu_hot, ORC v3, kallsyms offsets last.</summary>
    Linux612,
}

/// <summary>What a synthetic kernel is like.</summary>
public sealed record SyntheticKernelOptions
{
    /// <summary>Shapes.</summary>
    public KernelShape Shape { get; init; } = KernelShape.Linux61;

    /// <summary>Paging depth.</summary>
    public PagingMode Mode { get; init; } = PagingMode.FourLevel;

    /// <summary>KASLR offset; a multiple of 2 MiB.</summary>
    public ulong Kaslr { get; init; } = 0x1c00_0000;

    /// <summary>CPUs.</summary>
    public int Cpus { get; init; } = 2;

    /// <summary>The kernel has BTF.</summary>
    public bool Btf { get; init; } = true;

    /// <summary>The kernel has ORC.</summary>
    public bool Orc { get; init; } = true;

    /// <summary>Functions begin with the NOP of ftrace.</summary>
    public bool EntryNops { get; init; } = true;

    /// <summary>panic() calls vpanic().</summary>
    public bool Vpanic { get; init; }

    /// <summary>Symbols that this kernel lacks.</summary>
    public IReadOnlySet<string> Without { get; init; } = new HashSet<string>();

    /// <summary>Guest-physical address of the top page table.</summary>
    public ulong Tables { get; init; } = 0x10_0000;
}

/// <summary>
/// A Linux kernel made by hand: sparse guest-physical memory with real page tables, an image at a KASLR base with text, kallsyms, BTF, ORC and data, per-CPU areas, tasks, modules and
/// the printk ring, in the shapes of two kernel lines. Only what the product looks at is there. Change what lies in it, call <see cref="Link"/>, and it is another guest.
/// </summary>
public sealed partial class SyntheticKernel
{
    private const ulong ImagePhysical = 0x100_0000, TextBytes = 0x40_0000, TextUsed = 0x2_0000, RodataBytes = 0x10_0000, DataAt = 0x60_0000, DataBytes = 0x2_0000;
    private const ulong HeapPhysical = 0x200_0000, RamBytes = 64UL << 20;
    private readonly Dictionary<string, ulong> _data = new(StringComparer.Ordinal);
    private readonly List<SyntheticSymbol> _perCpu = [];
    private ulong _heap = HeapPhysical, _nextData, _modulePhysical = 0x300_0000;

    /// <summary>Builds the kernel, with the idle tasks, pid 1, a kernel thread and a user process that runs on CPU 0.</summary>
    public SyntheticKernel(SyntheticKernelOptions? options = null)
    {
        Options = options ?? new SyntheticKernelOptions();
        Memory = new SparsePhysicalMemory(RamBytes);
        Tables = new PageTableBuilder(Memory, Options.Mode, Options.Tables);
        Space = Tables.Space;
        TextBase = 0xffff_ffff_8100_0000 + Options.Kaslr;
        DirectBase = Options.Mode == PagingMode.FiveLevel ? 0xff11_0000_0000_0000 : 0xffff_8880_0000_0000;
        Types = KernelTypes.Make(Options.Shape);
        Text = new SyntheticText(TextBase + 0x1000) { Outside = PerCpuPlace };
        KernelFunctions.Add(Text, Options.EntryNops, Options.Vpanic);

        Tables.MapRange(DirectBase, 0, RamBytes, PageTableBuilder.Size2M, PageAccess.Writable | PageAccess.NoExecute);
        Tables.MapRange(TextBase, ImagePhysical, TextBytes, PageTableBuilder.Size2M, PageAccess.None);
        Tables.MapRange(TextBase + TextBytes, ImagePhysical + TextBytes, RodataBytes, access: PageAccess.NoExecute);
        Tables.MapRange(TextBase + DataAt, ImagePhysical + DataAt, DataBytes, access: PageAccess.Writable | PageAccess.NoExecute);
        Tables.Map(TextBase + DataAt + DataBytes, Tables.Root.Value, access: PageAccess.Writable | PageAccess.NoExecute);
        _nextData = TextBase + DataAt;
        _data["_etext"] = TextBase + TextUsed;
        _data["swapper_pg_dir"] = TextBase + DataAt + DataBytes;
        (_data["_sdata"], _data["_edata"]) = (TextBase + DataAt, TextBase + DataAt + DataBytes);
        LayOutData();
        Write(TextBase + 0x1000, Text.Build());
        LayOutRodata();
        MakeTasks();
        Link();
    }

    /// <summary>What it is like.</summary>
    public SyntheticKernelOptions Options { get; }

    /// <summary>Guest-physical memory.</summary>
    public SparsePhysicalMemory Memory { get; }

    /// <summary>The kernel's page tables.</summary>
    public PageTableBuilder Tables { get; }

    /// <summary>The kernel's address space.</summary>
    public AddressSpace Space { get; }

    /// <summary>Struct layouts.</summary>
    public SyntheticTypes Types { get; }

    /// <summary>The kernel's functions.</summary>
    public SyntheticText Text { get; }

    /// <summary>_text.</summary>
    public ulong TextBase { get; }

    /// <summary>Where all of RAM is mapped (page_offset_base).</summary>
    public ulong DirectBase { get; }

    /// <summary>Guest-virtual addresses where kallsyms tables lie, by their names.</summary>
    public Dictionary<string, ulong> KallsymsTables { get; } = [];

    /// <summary>GNU build id.</summary>
    public byte[] BuildId { get; } = [.. Enumerable.Range(0xa0, 20).Select(i => (byte)i)];

    /// <summary>The text of VMCOREINFO.</summary>
    public string VmcoreInfo { get; private set; } = "";

    /// <summary>Guest-physical address of its note.</summary>
    public ulong VmcoreInfoNote { get; private set; }

    /// <summary>uname -r.</summary>
    public string Release => Options.Shape == KernelShape.Linux61 ? "6.1.0-99-synthetic" : "6.12.99-synthetic";

    /// <summary>CR0, CR3, CR4 and EFER of every vCPU.</summary>
    public (ulong Cr0, ulong Cr3, ulong Cr4, ulong Efer) ControlRegisters => (0x8005_0033, Tables.Root.Value, Options.Mode == PagingMode.FiveLevel ? 0x1020UL : 0x20UL, 0xd01);

    /// <summary>What GS-relative code adds to a CPU's base.</summary>
    private ulong PerCpuPlace(string name) => name == "preempt count"
        ? Options.Shape == KernelShape.Linux612
            ? _perCpu.First(s => s.Name == "pcpu_hot").Address + Types.Offset("pcpu_hot.preempt_count")
            : _perCpu.First(s => s.Name == "__preempt_count").Address
        : throw new KeyNotFoundException(name);

    /// <summary>Address of a data symbol, function, or place in a function.</summary>
    public ulong this[string name] => _data.TryGetValue(name, out ulong at) ? at : Text[name];

    /// <summary>Where guest-physical memory is mapped.</summary>
    public ulong Direct(ulong physical) => DirectBase + physical;

    /// <summary>The guest-physical address behind a kernel address.</summary>
    public ulong Physical(ulong address) => Space.TryTranslate(new VirtualAddress(address), out Translation t, out MemoryFault fault)
        ? t.Physical.Value : throw new GuestMemoryException(fault, "synthetic kernel");

    /// <summary>Takes memory from the heap, zeroed.</summary>
    /// <returns>Its guest-virtual address.</returns>
    public ulong Allocate(int bytes, ulong align = 64)
    {
        _heap = (_heap + align - 1) / align * align;
        ulong at = _heap;
        _heap += (ulong)bytes;
        return Direct(at);
    }

    /// <summary>Writes bytes at a guest-virtual address, across pages.</summary>
    public void Write(ulong address, params ReadOnlySpan<byte> bytes)
    {
        while (!bytes.IsEmpty)
        {
            int take = (int)Math.Min(4096 - (address & 4095), (ulong)bytes.Length);
            Memory.Write(Physical(address), bytes[..take]);
            bytes = bytes[take..];
            address += (ulong)take;
        }
    }

    /// <summary>Writes a 64-bit value.</summary>
    public void WriteU64(ulong address, ulong value) => Write(address, BitConverter.GetBytes(value));

    /// <summary>Reads a 64-bit value.</summary>
    public ulong ReadU64(ulong address) => Space.ReadUInt64(new VirtualAddress(address), "synthetic kernel");

    /// <summary>Writes text and its NUL.</summary>
    public void WriteText(ulong address, string text) => Write(address, [.. Encoding.UTF8.GetBytes(text), 0]);

    /// <summary>Sets a member of a struct: <c>type.member[.member]</c>.</summary>
    public void Put(ulong address, string path, ulong value)
    {
        (int offset, int shift, CType type) = Types.Member(path);
        ulong at = unchecked(address + (ulong)offset);
        byte[] raw = new byte[8];
        if (type.Bits > 0)
        {
            Space.Read(new VirtualAddress(at), raw.AsSpan(0, type.Size), path);
            ulong mask = ((1UL << type.Bits) - 1) << shift;
            value = (BinaryPrimitives.ReadUInt64LittleEndian(raw) & ~mask) | ((value << shift) & mask);
        }

        BinaryPrimitives.WriteUInt64LittleEndian(raw, value);
        Write(at, raw.AsSpan(0, type.Size));
    }

    /// <summary>Reads a member of a struct that is no bit-field.</summary>
    public ulong Get(ulong address, string path)
    {
        (int offset, _, CType type) = Types.Member(path);
        Span<byte> raw = stackalloc byte[8];
        raw.Clear();
        Space.Read(new VirtualAddress(unchecked(address + (ulong)offset)), raw[..type.Size], path);
        return BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }

    /// <summary>Base of a CPU's per-CPU area.</summary>
    public ulong PerCpuBase(int cpu) => Direct(0x180_0000 + ((ulong)cpu * 0x1_0000));

    /// <summary>Address of a per-CPU variable.</summary>
    public ulong PerCpu(string name, int cpu) => PerCpuBase(cpu) + _perCpu.First(s => s.Name == name).Address;

    /// <summary>Writes the lists of tasks and modules as they are now.</summary>
    public void Link()
    {
        LinkTasks();
        LinkModules();
    }

    private ulong Data(string name, int bytes)
    {
        ulong at = _nextData;
        _data[name] = at;
        _nextData += (ulong)(bytes + 63) / 64 * 64;
        return at;
    }

    private void LayOutData()
    {
        WriteU64(Data("nr_cpu_ids", 8), (ulong)Options.Cpus);
        Data("__per_cpu_offset", 8 * 64);
        foreach (string list in (string[])["modules", "btf_modules"])
        {
            ulong head = Data(list, 16);
            WriteU64(head, head);
            WriteU64(head + 8, head);
        }

        WriteU64(Data("jiffies_64", 8), 0xffff_0000);
        WriteU64(Data("console_printk", 16), 7);
        Data("ct_moved", 8);
        WriteU64(Data("tainted_mask", 8), 1UL << 12);
        WriteU64(Data("sysctl_panic_on_oom", 8), 1);
        WriteU64(Data("system_state", 8), 3);
        Data("last_unloaded_module", 64);
        Write(Data("panic_cpu", 8), BitConverter.GetBytes(-1));
        Data("crash_notes", 8);
        ulong idt = Data("idt_table", 4096);
        for (int i = 0; i < 512; i++)
            WriteU64(idt + ((ulong)i * 8), 0x8e00_0000_0010_0000 + (ulong)i);
        Data("init_task", Types.SizeOf("task_struct"));

        ulong offset = 0;
        void PerCpuVariable(string name, int bytes)
        {
            _perCpu.Add(new SyntheticSymbol(offset, 'D', name, Absolute: true));
            offset += (ulong)(bytes + 63) / 64 * 64;
        }

        PerCpuVariable("fixed_percpu_data", 64);
        if (Options.Shape == KernelShape.Linux612)
        {
            PerCpuVariable("pcpu_hot", Types.SizeOf("pcpu_hot"));
        }
        else
        {
            foreach (string variable in (string[])["current_task", "__preempt_count", "hardirq_stack_ptr"])
                PerCpuVariable(variable, 8);
        }

        PerCpuVariable("cea_exception_stacks", 8);
        if (IsNewer)
            PerCpuVariable("_cea_offset", 4);
        PerCpuVariable("irq_stat", Types.SizeOf("irq_cpustat_t"));
        PerCpuVariable("runqueues", Types.SizeOf("rq"));
        foreach ((string name, int bytes) in SchedulerPerCpu())
            PerCpuVariable(name, bytes);

        // Pages of their own.
        _perCpu.Add(new SyntheticSymbol(0xb000, 'D', "gdt_page", Absolute: true));
        _perCpu.Add(new SyntheticSymbol(0xc000, 'D', "cpu_tss_rw", Absolute: true));
        LayOutResources();
        for (int cpu = 0; cpu < Options.Cpus; cpu++)
        {
            WriteU64(this["__per_cpu_offset"] + ((ulong)cpu * 8), PerCpuBase(cpu));
            ulong irqTop = Allocate(16384, 4096) + 16384 - 8;
            if (Options.Shape == KernelShape.Linux612)
                Put(PerCpu("pcpu_hot", cpu), "pcpu_hot.hardirq_stack_ptr", irqTop);
            else
                WriteU64(PerCpu("hardirq_stack_ptr", cpu), irqTop);
            WriteU64(PerCpu("cea_exception_stacks", cpu), Allocate(Types.SizeOf("cea_exception_stacks"), 4096));
            Put(PerCpu("irq_stat", cpu), "irq_cpustat_t.apic_timer_irqs", 1000);
            Put(PerCpu("runqueues", cpu), "rq.nr_switches", 5000);
        }

        LayOutScheduler();
    }

    private void LayOutRodata()
    {
        ulong at = TextBase + TextBytes;
        ulong Place(string name, ReadOnlySpan<byte> bytes, string? end = null)
        {
            ulong start = at;
            Write(at, bytes);
            _data[name] = start;
            if (end is not null)
                _data[end] = start + (ulong)bytes.Length;
            at = (at + (ulong)bytes.Length + 64) / 64 * 64;
            return start;
        }

        Place("linux_banner", Encoding.ASCII.GetBytes($"Linux version {Release} (builder@host) (gcc 12.2.0) #1 SMP PREEMPT_DYNAMIC\n\0"));
        Place("__start_notes", [4, 0, 0, 0, 20, 0, 0, 0, 3, 0, 0, 0, (byte)'G', (byte)'N', (byte)'U', 0, .. BuildId], "__stop_notes");
        VmcoreInfo = string.Create(CultureInfo.InvariantCulture, $"""
            OSRELEASE={Release}
            SYMBOL(_stext)={TextBase:x}
            KERNELOFFSET={Options.Kaslr:x}
            SYMBOL(swapper_pg_dir)={this["swapper_pg_dir"]:x}
            NUMBER(phys_base)={unchecked((long)(Tables.Root.Value - (this["swapper_pg_dir"] - 0xffff_ffff_8000_0000)))}
            NUMBER(pgtable_l5_enabled)={(Options.Mode == PagingMode.FiveLevel ? 1 : 0)}
            NUMBER(sme_mask)=0

            """);
        byte[] info = Encoding.ASCII.GetBytes(VmcoreInfo);
        VmcoreInfoNote = Physical(Allocate(4096, 4096));
        Memory.Write(VmcoreInfoNote, [11, 0, 0, 0, unchecked((byte)info.Length), (byte)(info.Length >> 8), 0, 0, 0, 0, 0, 0, .. "VMCOREINFO\0\0"u8, .. info]);
        ulong infoAt = Allocate(4096, 4096);
        Write(infoAt, info);
        WriteU64(Data("vmcoreinfo_data", 8), infoAt);
        WriteU64(Data("vmcoreinfo_size", 8), (ulong)info.Length);
        MakePrintk();
        if (Options.Btf)
            Place("__start_BTF", Types.Build(), "__stop_BTF");
        if (Options.Orc)
        {
            var orc = new SyntheticOrc(at, Options.Shape == KernelShape.Linux61 ? OrcVersion.V1 : OrcVersion.V3);
            foreach ((ulong ip, OrcEntry row) in Text.Rows)
                orc.Add(ip, row);
            Place("__start_orc_unwind_ip", orc.BuildIps(), "__stop_orc_unwind_ip");
            Place("__start_orc_unwind", orc.BuildRows(), "__stop_orc_unwind");
        }

        at = (at + 4095) & ~4095UL;
        var kallsyms = new SyntheticKallsyms
        {
            ImageBase = at, TextBase = TextBase, Order = Options.Shape == KernelShape.Linux61 ? SyntheticKallsymsOrder.OffsetsFirst : SyntheticKallsymsOrder.TokensFirst,
        };
        foreach (SyntheticSymbol symbol in _perCpu.Concat(Symbols().OrderBy(s => s.Address)).Where(s => !Options.Without.Contains(s.Name)))
            kallsyms.Add(symbol.Address, symbol.Type, symbol.Name, symbol.Absolute);
        Write(at, kallsyms.Build());
        foreach ((string name, int position) in kallsyms.Positions)
            KallsymsTables[name] = at + (ulong)position;
    }

    private IEnumerable<SyntheticSymbol> Symbols()
    {
        yield return new SyntheticSymbol(TextBase, 'T', "_text");
        yield return new SyntheticSymbol(TextBase, 'T', "_stext");
        foreach ((string name, ulong address) in Text.Functions)
            yield return new SyntheticSymbol(address, 'T', name);

        // A kernel has tens of thousands of symbols; fewer than some hundred are taken for an accident.
        for (ulong i = 0; i < 520; i++)
            yield return new SyntheticSymbol(TextBase + 0x1_8000 + (i * 0x20), 't', $"filler_{i}");
        foreach ((string name, ulong address) in _data)
            yield return new SyntheticSymbol(address, address < TextBase + TextBytes ? 'T' : address < TextBase + DataAt ? 'R' : 'D', name);
    }
}
