using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>One run of a module's memory.</summary>
/// <param name="Start">Guest-virtual address.</param>
/// <param name="Size">Bytes.</param>
/// <param name="IsText">Executable code.</param>
public readonly record struct ModuleMemory(ulong Start, ulong Size, bool IsText);

/// <summary>Where a module keeps its tables.</summary>
/// <param name="Symtab">Array of Elf64_Sym.</param>
/// <param name="SymbolCount">Its length.</param>
/// <param name="Strtab">Names.</param>
/// <param name="Typetab">One nm type letter a symbol (since 5.2, commit 1c7651f43777); 0 where there is none.</param>
/// <param name="OrcIps">.orc_unwind_ip, 0 where there is none.</param>
/// <param name="OrcRows">.orc_unwind.</param>
/// <param name="OrcCount">Rows.</param>
public readonly record struct ModuleTables(ulong Symtab, uint SymbolCount, ulong Strtab, ulong Typetab, ulong OrcIps, ulong OrcRows, uint OrcCount)
{
    /// <summary>Jump labels (struct jump_entry).</summary>
    public CountedArray Jumps { get; init; }

    /// <summary>Exception fixups (struct exception_table_entry).</summary>
    public CountedArray Exceptions { get; init; }

    /// <summary>BUG and WARN places (struct bug_entry).</summary>
    public CountedArray Bugs { get; init; }
}

/// <summary>An array that a module points to.</summary>
/// <param name="Address">Guest-virtual address of its first element.</param>
/// <param name="Count">Elements; 0 where there is none.</param>
public readonly record struct CountedArray(ulong Address, uint Count);

/// <summary>One loaded module.</summary>
/// <param name="Address">Guest-virtual address of its struct module.</param>
/// <param name="Name">Name.</param>
/// <param name="State">0 live, 1 coming, 2 going, 3 unformed (enum module_state).</param>
/// <param name="Taints">Taint bits.</param>
/// <param name="Memory">Its memory, text first.</param>
/// <param name="Tables">Its tables.</param>
public sealed record LinuxModule(
    ulong Address, string Name, uint State, ulong Taints, IReadOnlyList<ModuleMemory> Memory, ModuleTables Tables)
{
    /// <summary>Tells one load of a module from another at the same place: the id of its directory in sysfs, which is given to no other (fs/kernfs/dir.c, __kernfs_new_node: kernfs_node.id is
    /// counted up, its upper half with each time that the lower one begins anew). 0 where the module has none, or none yet.</summary>
    public ulong LoadId { get; init; }

    /// <summary>Total bytes, as lsmod shows.</summary>
    public ulong Size => Memory.Aggregate(0UL, (sum, m) => unchecked(sum + m.Size));

    /// <summary>True where the module's memory holds the address.</summary>
    public bool Contains(ulong address) => Memory.Any(m => unchecked(address - m.Start) < m.Size);
}

/// <summary>Loaded modules, from the list <c>modules</c> (kernel/module/main.c).</summary>
public static class Modules
{
    /// <summary>All modules on the list, newest first, those being loaded or removed included.</summary>
    /// <exception cref="GuestMemoryException">A link points to memory that can't be read.</exception>
    /// <exception cref="KernelShapeException">The list does not close, or the kernel lacks the types.</exception>
    public static List<LinuxModule> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        ulong head = kernel.Symbol("modules");
        ulong link = kernel.Offset("module.list");
        var all = new List<LinuxModule>();
        var guard = new ChainGuard("the module list", limits.MaxModules);
        for (ulong node = kernel.ReadU64(head, "modules"); node != head; node = kernel.ReadU64(node, "module.list"))
        {
            guard.Step(node);
            all.Add(Read(kernel, unchecked(node - link), limits));
        }

        return all;
    }

    /// <summary>Address and state of every module on the list, newest first; nothing else of them is read.</summary>
    /// <inheritdoc cref="Enumerate" path="/exception"/>
    public static IEnumerable<(ulong Address, uint State)> States(LinuxKernel kernel, TargetLimits limits)
    {
        ulong head = kernel.Symbol("modules"), link = kernel.Offset("module.list");
        var guard = new ChainGuard("the module list", limits.MaxModules);
        for (ulong node = kernel.ReadU64(head, "modules"); node != head; node = kernel.ReadU64(node, "module.list"))
        {
            guard.Step(node);
            ulong module = unchecked(node - link);
            yield return (module, kernel.ReadU32(module, "module.state"));
        }
    }

    /// <summary>One module, by the address of its struct module.</summary>
    /// <inheritdoc cref="Enumerate" path="/exception"/>
    public static LinuxModule ReadOne(LinuxKernel kernel, ulong module, TargetLimits limits) => Read(kernel, module, limits);

    /// <summary>See <see cref="LinuxModule.LoadId"/>; 0 also where it can't be read.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="module">Guest-virtual address of a struct module.</param>
    public static ulong LoadId(LinuxKernel kernel, ulong module)
    {
        if (!kernel.HasMember("module.mkobj.kobj.sd") || !kernel.HasMember("kernfs_node.id"))
            return 0;
        try
        {
            ulong directory = kernel.Read(module, "module.mkobj.kobj.sd");
            return directory == 0 ? 0 : kernel.Read(directory, "kernfs_node.id");
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
        {
            return 0;
        }
    }

    private static LinuxModule Read(LinuxKernel kernel, ulong module, TargetLimits limits)
    {
        uint state = kernel.ReadU32(module, "module.state");
        ulong kallsyms = kernel.HasMember("module.kallsyms") ? kernel.Read(module, "module.kallsyms") : 0;
        ModuleTables tables = default;

        // An unformed module is on the list before it has been laid out (kernel/module/main.c, add_unformed_module): only its name is there.
        if (state != 3)
        {
            if (kallsyms != 0)
            {
                tables = new ModuleTables(
                    kernel.Read(kallsyms, "mod_kallsyms.symtab"), kernel.ReadU32(kallsyms, "mod_kallsyms.num_symtab"),
                    kernel.Read(kallsyms, "mod_kallsyms.strtab"),
                    kernel.HasMember("mod_kallsyms.typetab") ? kernel.Read(kallsyms, "mod_kallsyms.typetab") : 0, 0, 0, 0);
            }

            if (kernel.HasMember("module.arch.num_orcs"))
            {
                tables = tables with
                {
                    OrcCount = kernel.ReadU32(module, "module.arch.num_orcs"),
                    OrcIps = kernel.Read(module, "module.arch.orc_unwind_ip"),
                    OrcRows = kernel.Read(module, "module.arch.orc_unwind"),
                };
            }

            tables = tables with
            {
                Jumps = Array("jump_entries", "num_jump_entries"),
                Exceptions = Array("extable", "num_exentries"),
                Bugs = Array("bug_table", "num_bugs"),
            };
        }

        return new LinuxModule(
            module, kernel.ReadText(module, "module.name"), state, kernel.HasMember("module.taints") ? kernel.Read(module, "module.taints") : 0,
            state == 3 ? [] : ReadMemory(kernel, module, limits), tables)
        { LoadId = state == 3 ? 0 : LoadId(kernel, module) };

        CountedArray Array(string pointer, string count) => kernel.HasMember($"module.{pointer}") && kernel.HasMember($"module.{count}")
            ? new CountedArray(kernel.Read(module, $"module.{pointer}"), (uint)kernel.Read(module, $"module.{count}"))
            : default;
    }

    /// <summary>module.mem[] since 6.4 (commit ac3b43283923, "module: replace module_layout with module_memory"), core_layout before it.</summary>
    private static List<ModuleMemory> ReadMemory(LinuxKernel kernel, ulong module, TargetLimits limits)
    {
        var memory = new List<ModuleMemory>();
        if (kernel.HasMember("module.mem"))
        {
            int element = kernel.Image.Types.SizeOf("module_memory");
            int bytes = kernel.Image.Types.Member("module.mem").BitSize / 8;
            ulong array = unchecked(module + kernel.Offset("module.mem"));
            for (int type = 0; element > 0 && type < bytes / element && type < 16; type++)
            {
                ulong at = unchecked(array + (ulong)(type * element));

                // MOD_TEXT is 0, MOD_INIT_TEXT is 4 (enum mod_mem_type).
                Add(kernel.Read(at, "module_memory.base"), kernel.Read(at, "module_memory.size"), type is 0 or 4);
            }
        }
        else
        {
            foreach (string layout in (string[])["core_layout", "init_layout"])
            {
                ulong start = kernel.Read(module, $"module.{layout}.base");
                ulong size = kernel.Read(module, $"module.{layout}.size"), text = kernel.Read(module, $"module.{layout}.text_size");
                if (text > size)
                    throw new KernelShapeException("a module's text is larger than the module");
                Add(start, text, true);
                Add(unchecked(start + text), size - text, false);
            }
        }

        return memory;

        void Add(ulong start, ulong size, bool isText)
        {
            if (start == 0 || size == 0)
                return;
            if (size > (ulong)limits.MaxModuleBytes)
                throw new KernelShapeException($"a module's memory of {size} bytes is beyond the limit");
            if (start > ulong.MaxValue - size)
                throw new KernelShapeException($"a module's memory at 0x{start:x} wraps around the address space");
            memory.Add(new ModuleMemory(start, size, isText));
        }
    }
}
