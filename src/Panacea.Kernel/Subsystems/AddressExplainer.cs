using System.Text;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Says what a 64-bit value is: a register, a word of a stack, a pointer in a structure.</summary>
/// <remarks>Reads the lists of tasks, caches and vmalloc areas once, when first needed, and keeps them: over a running guest make a new one for a new look. What could not be read is in
/// <see cref="Without"/>, and explanations are coarser for it. Not thread-safe.</remarks>
public sealed class AddressExplainer
{
    private readonly LinuxKernel _kernel;
    private readonly TargetLimits _limits;
    private readonly List<string> _without = [];
    private readonly AddressLayout? _layout;
    private readonly Pages? _pages;
    private readonly ulong _imagePhysical, _kfence, _kfenceEnd;
    private readonly Lazy<IReadOnlyList<LinuxTask>> _tasks;
    private readonly Lazy<TaskStacks?> _stacks;
    private readonly Lazy<SlabObjects?> _slabs;
    private readonly Lazy<IReadOnlyList<VmallocArea>> _areas;
    private readonly Lazy<IReadOnlyList<(KernelStack Stack, int Cpu)>> _cpuStacks;
    private readonly Lazy<PerCpuSymbols> _perCpu;

    /// <summary>Explains values of a kernel.</summary>
    public AddressExplainer(LinuxKernel kernel, TargetLimits limits)
    {
        _kernel = kernel;
        _limits = limits;
        _layout = Get("the address space", () => AddressLayout.Read(kernel), null);
        _pages = _layout is null ? null : Get("pages", () => new Pages(kernel, _layout), null);
        if (kernel.Space.TryTranslate(new VirtualAddress(kernel.Image.Meta.TextBase), out Target.Paging.Translation t, out _))
            _imagePhysical = t.Physical.Value;
        _kfence = kernel.TryReadVariable("__kfence_pool") ?? 0;
        _kfenceEnd = _kfence == 0 ? 0 : KfenceEnd(kernel, _kfence, limits);
        _tasks = new(() => Get<IReadOnlyList<LinuxTask>>("tasks", () => Tasks.Enumerate(kernel, limits), []));
        _stacks = new(() => _layout is null ? null : TaskStacks.Of(kernel, _layout, _tasks.Value));
        _slabs = new(() => _layout is null ? null : Get("slab caches", () => new SlabObjects(kernel, _layout, SlabCaches.Enumerate(kernel, limits)), null));
        _areas = new(() => Get<IReadOnlyList<VmallocArea>>("vmalloc areas", () => Vmalloc.Areas(kernel, limits), []));
        _cpuStacks = new(() => [.. Enumerable.Range(0, kernel.Image.Meta.PerCpuBases.Count).SelectMany(cpu => Stacks.Of(kernel, cpu, 0).Select(s => (s, cpu)))]);
        _perCpu = new(() => new PerCpuSymbols(kernel.Image));
    }

    /// <summary>What could not be read so far and why, in sentences.</summary>
    public IReadOnlyList<string> Without => _without;

    /// <summary>The kernel's address space; null where it makes no sense.</summary>
    public AddressLayout? Layout => _layout;

    /// <summary>Explains a value.</summary>
    public AddressExplanation Explain(ulong value)
    {
        ClassifiedAddress told = ClassifiedAddress.Of(value, null, _layout?.LinearBits ?? 48);
        AddressRegion region = _layout?.RegionOf(value) ?? AddressRegion.Hole;
        switch (told.Class)
        {
            case AddressClass.Null:
                return new(value, AddressMeaning.Null, AddressRegion.User, value == 0 ? "NULL" : $"{value}, or NULL + 0x{value:x}", Certainty.Likely);
            case AddressClass.ErrPtr:
                return new(value, AddressMeaning.ErrorPointer, region, $"{told}, or {unchecked((long)value)}", Certainty.Likely);
            case AddressClass.ListPoison1 or AddressClass.ListPoison2 or AddressClass.Poison or AddressClass.FreedSlab or AddressClass.UninitialisedSlab or AddressClass.FreedPage:
                return new(value, AddressMeaning.Poison, region, told.ToString(), Certainty.Certain);
            case AddressClass.NonCanonical:
                return Characters(value) is { } text
                    ? new(value, AddressMeaning.Characters, region, $"the characters \"{text}\"", Certainty.Likely)
                    : new(value, AddressMeaning.NonCanonical, region, "non-canonical: no address", Certainty.Certain);
            case AddressClass.User:
                return Characters(value) is { } word
                    ? new(value, AddressMeaning.Characters, region, $"the characters \"{word}\"", Certainty.Likely)
                    : new(value, AddressMeaning.User, AddressRegion.User, value <= uint.MaxValue ? $"{value}, or a user-space address" : "user-space address", Certainty.Possible);
            default:
                return OfKernelHalf(value, region);
        }
    }

    private AddressExplanation OfKernelHalf(ulong value, AddressRegion region)
    {
        if (_kernel.Image.Symbolize(value) is { } symbol && (symbol.Module is not null || value < _kernel.Image.Meta.TextEnd || symbol.Offset < symbol.Size))
        {
            // init_task lies in the kernel's data.
            if (symbol.Name == "init_task" && TaskAt(value - symbol.Offset) is { } idle)
                return OfTask(value, region, idle, symbol.Offset);

            // The image may be older than the removal of a module; its memory is an area as long as it is there.
            if (symbol.Module is not null && _areas.Value.Count > 0 && Vmalloc.Find(_areas.Value, value) is null)
                return new(value, AddressMeaning.GoneModule, region, $"{symbol}, of a module that is gone", Certainty.Certain) { Symbol = symbol };
            return new(value, AddressMeaning.Symbol, region, symbol.ToString(), Certainty.Certain) { Symbol = symbol };
        }

        if (PerCpuSymbolOf(value) is { } perCpu)
            return new(value, AddressMeaning.PerCpu, region, perCpu, Certainty.Certain);
        return region switch
        {
            AddressRegion.DirectMap => OfDirectMap(value),
            AddressRegion.DirectMapBeyondRam => new(value, AddressMeaning.Nowhere, region, "direct map past the end of RAM", Certainty.Certain),
            AddressRegion.Vmalloc => OfVmalloc(value, region),
            AddressRegion.Vmemmap => OfVmemmap(value),
            AddressRegion.Modules => OfModules(value),
            AddressRegion.CpuEntryArea => CpuStackOf(value, region) ?? new(value, AddressMeaning.Region, region, "CPU entry area", Certainty.Certain),
            AddressRegion.Hole or AddressRegion.GuardHole => new(value, AddressMeaning.Nowhere, region, "a kernel address where nothing is ever mapped", Certainty.Certain),
            AddressRegion.KernelImageArea => new(value, AddressMeaning.Nowhere, region, "the kernel image's area, outside of the kernel", Certainty.Certain),
            _ => new(value, AddressMeaning.Region, region, Name(region), Certainty.Certain),
        };
    }

    private AddressExplanation OfDirectMap(ulong value)
    {
        const AddressRegion region = AddressRegion.DirectMap;
        if (_stacks.Value?.Find(value) is { IsGuard: false } owner)
            return OfStack(value, region, owner);
        if (value >= _kfence && value < _kfenceEnd)
            return new(value, AddressMeaning.Kfence, region, $"KFENCE pool + 0x{value - _kfence:x}", Certainty.Certain);
        if (_slabs.Value is { } slabs)
        {
            if (slabs.TryFind(value, out SlabObject found, out string why))
                return OfSlab(value, found);
            if (why.Contains("slab", StringComparison.Ordinal))
                return new(value, AddressMeaning.SlabRest, region, why, Certainty.Certain);
        }

        ulong physical = value - _layout!.PageOffset;
        PageInfo? page = _pages is not null && _pages.TryOfVirtual(value, out PageInfo told) ? told : null;

        // Pages of the kernel image are reserved; those that it gives back after boot (init code, what is left of .bss..decrypted) are not any more, and belong to whoever has them now.
        if (_imagePhysical != 0 && physical >= _imagePhysical && page is not { Use: not PageUse.Reserved }
            && _layout.RegionOf(unchecked(physical - _imagePhysical + _kernel.Image.Meta.TextBase)) is not (AddressRegion.KernelInit or AddressRegion.KernelImageArea)
            && _kernel.Image.Symbolize(unchecked(physical - _imagePhysical + _kernel.Image.Meta.TextBase)) is { } alias && alias.Offset < alias.Size)
            return new(value, AddressMeaning.Symbol, region, $"{alias}, through the direct map", Certainty.Certain) { Symbol = alias };
        if (page is null)
            return new(value, AddressMeaning.Page, region, $"direct map of guest-physical 0x{physical:x}", Certainty.Certain);
        string text = page.Use switch
        {
            PageUse.Free => $"free memory (a block of {1 << page.Order} pages, frame 0x{page.Frame:x})",
            PageUse.Anonymous => $"anonymous memory of a process, frame 0x{page.Frame:x}",
            PageUse.File => $"page cache, frame 0x{page.Frame:x} of address_space 0x{page.Mapping:x}",
            PageUse.PageTable => $"a page table, frame 0x{page.Frame:x}",
            PageUse.Slab => $"a slab, frame 0x{page.Frame:x}",
            PageUse.HugeTlb => $"a hugetlb page, frame 0x{page.Frame:x}",
            PageUse.Offline => $"memory given back to the hypervisor, frame 0x{page.Frame:x}",
            PageUse.Reserved => $"reserved memory, frame 0x{page.Frame:x}",
            _ => $"memory of the kernel{(page.Order > 0 ? $" ({1 << page.Order} pages)" : "")}, frame 0x{page.Frame:x}",
        };
        return new(value, page.Use == PageUse.Free ? AddressMeaning.FreePage : AddressMeaning.Page, region, text, Certainty.Certain) { Page = page };
    }

    private AddressExplanation OfSlab(ulong value, SlabObject found)
    {
        if (found is { IsInside: true, Cache.Name: "task_struct", State: not SlabObjectState.Free } && TaskAt(found.Start) is { } task)
            return OfTask(value, AddressRegion.DirectMap, task, (ulong)found.Offset) with { Object = found };
        string state = found.State switch { SlabObjectState.Free => "free", SlabObjectState.InUse => "in use", _ => "free or in use" };
        string place = found.Offset == 0 ? "" : found.Offset > 0 ? $" + 0x{found.Offset:x}" : $" - 0x{-found.Offset:x} (red zone)";
        if (found.Offset >= found.Cache.ObjectSize)
            place += " (behind its end)";
        string zone = found.RedZone == RedZone.Overwritten ? ", red zone overwritten" : "";
        return new(value, AddressMeaning.SlabObject, AddressRegion.DirectMap, $"{found.Cache.Name} object 0x{found.Start:x}{place}, {state}{zone}",
            found.State == SlabObjectState.Unknown ? Certainty.Likely : Certainty.Certain)
        { Object = found };
    }

    private AddressExplanation OfVmalloc(ulong value, AddressRegion region)
    {
        if (_stacks.Value?.Find(value) is { } owner)
            return OfStack(value, region, owner);
        if (CpuStackOf(value, region) is { } stack)
            return stack;
        if (Vmalloc.Find(_areas.Value, value) is not { } area)
        {
            bool mapped = _kernel.Space.TryTranslate(new VirtualAddress(value), out _, out _);
            return new(value, AddressMeaning.GoneVmalloc, region, mapped ? "vmalloc area, mapped, in no known area" : "vmalloc area where nothing is mapped: freed, or never there",
                _areas.Value.Count > 0 && !mapped ? Certainty.Certain : Certainty.Possible);
        }

        string by = _kernel.Image.Symbolize(area.Caller) is { } caller ? $" of {caller.Name}{(caller.Module is null ? "" : $" [{caller.Module}]")}" : "";
        return area.IsGuard(value)
            ? new(value, AddressMeaning.VmallocGuard, region, $"guard page behind the {area.Kind} area 0x{area.Start:x}{by}", Certainty.Certain) { Area = area }
            : new(value, AddressMeaning.VmallocArea, region, $"{area.Kind} area 0x{area.Start:x}{by} + 0x{value - area.Start:x}", Certainty.Certain) { Area = area };
    }

    private AddressExplanation OfModules(ulong value)
    {
        // Modules that came after the image was made, and code that is generated at run time, are areas here too.
        if (Vmalloc.Find(_areas.Value, value) is { } area && !area.IsGuard(value))
            return OfVmalloc(value, AddressRegion.Modules);
        string last = _kernel.Image.TryFindSymbol("last_unloaded_module", out ulong name)
            ? KernelReads.Try(() => _kernel.ReadString(name, "last_unloaded_module", 64), "") : "";
        return new(value, AddressMeaning.GoneModule, AddressRegion.Modules,
            $"module area where no module is now{(last.Length > 0 ? $"; the last module removed was {last}" : "")}", _areas.Value.Count > 0 ? Certainty.Certain : Certainty.Likely);
    }

    private AddressExplanation OfVmemmap(ulong value)
    {
        ulong offset = (value - _layout!.VmemmapStart) % _layout.PageStructBytes;
        PageInfo? page = null;
        bool known = _layout.TryFrameOf(value - offset, out ulong frame) && _pages is not null && _pages.TryOfFrame(frame, out page);
        return new(value, AddressMeaning.StructPage, AddressRegion.Vmemmap, $"struct page of frame 0x{frame:x}{(offset == 0 ? "" : $" + 0x{offset:x}")}{(known ? $" ({page!.Use})" : "")}", Certainty.Certain)
        { Page = page };
    }

    private static AddressExplanation OfStack(ulong value, AddressRegion region, StackOwner owner) => owner.IsGuard
        ? new(value, AddressMeaning.StackGuard, region, $"guard page below the stack of {Who(owner.Task)}: stack overflow", Certainty.Certain) { Task = owner.Task }
        : new(value, AddressMeaning.TaskStack, region, $"stack of {Who(owner.Task)}, 0x{owner.Stack.End - value:x} below its top", Certainty.Certain) { Task = owner.Task };

    private static AddressExplanation OfTask(ulong value, AddressRegion region, LinuxTask task, ulong offset) =>
        new(value, AddressMeaning.Task, region, $"task_struct of {Who(task)}{(offset == 0 ? "" : $" + 0x{offset:x}")}", Certainty.Certain) { Task = task };

    private AddressExplanation? CpuStackOf(ulong value, AddressRegion region)
    {
        foreach ((KernelStack stack, int cpu) in _cpuStacks.Value)
        {
            if (stack.Contains(value))
                return new(value, AddressMeaning.CpuStack, region, $"{stack.Name} stack of CPU {cpu}, 0x{stack.End - value:x} below its top", Certainty.Certain);
        }

        return null;
    }

    private LinuxTask? TaskAt(ulong address) =>
        _tasks.Value.FirstOrDefault(t => t.Address == address) ?? KernelReads.Try<LinuxTask?>(() => Tasks.ReadTask(_kernel, address), null);

    private string? PerCpuSymbolOf(ulong value)
    {
        IReadOnlyList<ulong> bases = _kernel.Image.Meta.PerCpuBases;
        for (int cpu = 0; cpu < bases.Count; cpu++)
        {
            if (bases[cpu] != 0 && _perCpu.Value.Find(unchecked(value - bases[cpu])) is { } name)
                return $"per-CPU {name} of CPU {cpu}";
        }

        return null;
    }

    private T Get<T>(string what, Func<T> read, T fallback)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            _without.Add($"{what}: {e.Message}");
            return fallback;
        }
    }

    /// <summary>The pool has a guard page for each object page: object i lies at (i + 1) · 2 pages (mm/kfence/core.c). Its size is a build option that only its metadata shows.</summary>
    private static ulong KfenceEnd(LinuxKernel kernel, ulong pool, TargetLimits limits) => KernelReads.Try(
        () =>
        {
            ulong table = kernel.Symbol("kfence_metadata"), bytes = (ulong)kernel.Image.Types.SizeOf("kfence_metadata");

            // An array up to 6.5, a pointer since (commit cabdf74e6b31, "mm: kfence: allocate kfence_metadata at runtime").
            if (unchecked(kernel.Read(table, "kfence_metadata.addr") - pool) is < 2 * KernelReads.PageSize or >= 3 * KernelReads.PageSize)
                table = kernel.ReadU64(table, "kfence_metadata");
            ulong count = 0;
            while (count < (ulong)limits.MaxChain
                && unchecked(kernel.Read(table + (count * bytes), "kfence_metadata.addr") - pool - ((count + 1) * 2 * KernelReads.PageSize)) < KernelReads.PageSize)
                count++;
            return unchecked(pool + ((count + 1) * 2 * KernelReads.PageSize));
        },
        pool);

    private static string Who(LinuxTask task) => $"{task.Comm} ({task.Pid})";

    private static string Name(AddressRegion region) => region switch
    {
        AddressRegion.KernelText => "kernel text",
        AddressRegion.KernelRodata => "read-only data of the kernel",
        AddressRegion.KernelData => "data of the kernel",
        AddressRegion.KernelBss => "zeroed data of the kernel",
        AddressRegion.KernelInit => "boot-time memory of the kernel, freed by now",
        AddressRegion.KernelImage => "the kernel's image",
        AddressRegion.LdtRemap => "LDT of a process",
        AddressRegion.KasanShadow => "KASAN shadow memory",
        AddressRegion.Espfix => "%esp fixup area",
        AddressRegion.Efi => "EFI run-time services",
        AddressRegion.Fixmap => "fixmap",
        AddressRegion.Vsyscall => "vsyscall page",
        _ => region.ToString(),
    };

    /// <summary>The value's bytes where all of them are printable: text that was taken for a pointer.</summary>
    private static string? Characters(ulong value)
    {
        Span<byte> raw = stackalloc byte[8];
        BitConverter.TryWriteBytes(raw, value);
        int length = raw.IndexOf((byte)0) is var nul && nul >= 0 ? nul : raw.Length;

        // Four characters and less are as likely a number.
        return length > 4 && raw[length..].IndexOfAnyExcept((byte)0) < 0 && raw[..length].IndexOfAnyExceptInRange((byte)' ', (byte)'~') < 0 ? Encoding.ASCII.GetString(raw[..length]) : null;
    }
}
