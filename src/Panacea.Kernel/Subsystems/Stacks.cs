using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>One of the kernel's stacks.</summary>
/// <param name="Name"><c>task</c>, <c>irq</c>, or an exception stack's: <c>df</c>, <c>nmi</c>, <c>db</c>, <c>mce</c>, <c>vc</c>.</param>
/// <param name="Start">Lowest address.</param>
/// <param name="End">First address past it: the stack grows down from here.</param>
public readonly record struct KernelStack(string Name, ulong Start, ulong End)
{
    /// <summary>The same as an unwinder names it.</summary>
    public StackKind Kind => Name switch
    {
        "task" => StackKind.Task,
        "irq" => StackKind.Irq,
        "df" => StackKind.DoubleFault,
        "nmi" => StackKind.Nmi,
        "db" => StackKind.Debug,
        "mce" => StackKind.MachineCheck,
        "vc" => StackKind.Vc,
        _ => StackKind.Unknown,
    };

    /// <summary>Its bounds for an unwinder.</summary>
    /// <param name="cpu">The CPU that it belongs to; null where unknown.</param>
    public StackBounds BoundsOn(int? cpu) => new(Start, End, Kind, cpu ?? -1);

    /// <summary>True where the address lies in the stack.</summary>
    public bool Contains(ulong address) => address >= Start && address < End;
}

/// <summary>The stacks that a CPU can be on (arch/x86/kernel/dumpstack_64.c, get_stack_info).</summary>
public static class Stacks
{
    /// <summary>THREAD_SIZE without KASAN, where BTF does not say (arch/x86/include/asm/page_64_types.h).</summary>
    private const ulong DefaultThreadSize = 16384;

    /// <summary>IRQ_STACK_SIZE.</summary>
    private const ulong IrqStackSize = 16384;

    /// <summary>The task's own stack, and the CPU's IRQ and exception stacks where the kernel's types let them be found.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="cpu">CPU number, or null where it is unknown: then the task's stack alone is given.</param>
    /// <param name="task">task_struct address, 0 where unknown.</param>
    public static List<KernelStack> Of(LinuxKernel kernel, int? cpu, ulong task)
    {
        var stacks = new List<KernelStack>(8);
        Try(() =>
        {
            ulong stack = task == 0 ? 0 : kernel.Read(task, "task_struct.stack");
            ulong size = kernel.Image.Types.TrySizeOf("thread_union", out int bytes) ? (ulong)bytes : DefaultThreadSize;
            if (stack != 0)
                stacks.Add(new KernelStack("task", stack, stack + size));
        });
        if (cpu is not { } number)
            return stacks;
        Try(() =>
        {
            // The pointer names the last word of the stack's top (irq_init_percpu_irqstack); pcpu_hot holds it from 6.2 to 6.14.
            ulong top = kernel.Image.TryFindPerCpuSymbol("pcpu_hot", out _) && kernel.HasMember("pcpu_hot.hardirq_stack_ptr")
                ? kernel.Read(PerCpu.Address(kernel, "pcpu_hot", number), "pcpu_hot.hardirq_stack_ptr")
                : kernel.ReadU64(PerCpu.Address(kernel, "hardirq_stack_ptr", number), "hardirq_stack_ptr");
            ulong end = (top + 4095) & ~4095UL;
            if (top != 0)
                stacks.Add(new KernelStack("irq", end - IrqStackSize, end));
        });
        Try(() =>
        {
            ulong area = kernel.ReadU64(PerCpu.Address(kernel, "cea_exception_stacks", number), "cea_exception_stacks");
            foreach (string name in (string[])["DF", "NMI", "DB", "MCE", "VC"])
            {
                if (area != 0 && kernel.Image.Types.TryMember($"cea_exception_stacks.{name}_stack", out MemberInfo member))
                    stacks.Add(new KernelStack(name.ToLowerInvariant(), area + (ulong)member.ByteOffset, area + (ulong)member.ByteOffset + ((ulong)member.BitSize / 8)));
            }
        });
        return stacks;
    }

    /// <summary>The stack that a stack pointer lies in, where nothing tells more: x86-64's stacks of tasks and interrupts are of 16 KiB and aligned to it (arch/x86/include/asm/page_64_types.h).</summary>
    public static KernelStack AroundPointer(ulong pointer) => new("task", pointer & ~(DefaultThreadSize - 1), unchecked((pointer & ~(DefaultThreadSize - 1)) + DefaultThreadSize));

    /// <summary>A stack that can't be found is one fewer that the unwinder may step onto; it then stops there and says so.</summary>
    private static void Try(Action find)
    {
        try
        {
            find();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
        }
    }
}
