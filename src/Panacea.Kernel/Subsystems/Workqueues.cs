using System.Text;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Work that waits or is being done.</summary>
/// <param name="Address">struct work_struct.</param>
/// <param name="Function">Its function's address.</param>
/// <param name="Name">Its function's name; null where no symbol covers it.</param>
/// <param name="Queue">The workqueue it was put on; null where that can't be told.</param>
public sealed record WorkItem(ulong Address, ulong Function, SymbolLocation? Name, string? Queue);

/// <summary>A worker of a pool.</summary>
/// <param name="Address">struct worker.</param>
/// <param name="Task">Its task_struct; 0 for those that are softirqs (POOL_BH).</param>
/// <param name="Flags">WORKER_* (kernel/workqueue.c).</param>
/// <param name="Current">What it is doing; null where it is idle. The work itself may be freed by now, so its function is from the worker.</param>
/// <param name="Description">Of the current work, as it set it (set_worker_desc); empty where it did not.</param>
/// <param name="IsRescuer">It helps when no other worker can be made.</param>
public sealed record Worker(ulong Address, ulong Task, uint Flags, WorkItem? Current, string Description, bool IsRescuer)
{
    /// <summary>WORKER_IDLE.</summary>
    public bool IsIdle => (Flags & 4) != 0;
}

/// <summary>A pool of workers.</summary>
/// <param name="Address">struct worker_pool.</param>
/// <param name="Id">Number.</param>
/// <param name="Cpu">Its CPU; −1 where it is unbound.</param>
/// <param name="Nice">Nice value of its workers; null where unknown.</param>
/// <param name="Flags">POOL_*.</param>
/// <param name="WorkerCount">Workers, as it counts them.</param>
/// <param name="IdleCount">Idle ones, as it counts them.</param>
/// <param name="LastProgressJiffies">When it last took work off its list; null where the kernel keeps no such time.</param>
/// <param name="Pending">Work that waits for a worker, first in line first.</param>
/// <param name="Workers">Its workers.</param>
public sealed record WorkerPool(
    ulong Address, int Id, int Cpu, int? Nice, uint Flags, int WorkerCount, int IdleCount, ulong? LastProgressJiffies, Walked<WorkItem> Pending, Walked<Worker> Workers);

/// <summary>A workqueue.</summary>
/// <param name="Address">struct workqueue_struct.</param>
/// <param name="Name">Name.</param>
/// <param name="Flags">WQ_* and __WQ_* (include/linux/workqueue.h).</param>
/// <param name="Rescuer">Its rescuer's task_struct, 0 for none.</param>
/// <param name="Pools">What ties it to pools.</param>
public sealed record Workqueue(ulong Address, string Name, uint Flags, ulong Rescuer, Walked<PoolWorkqueue> Pools)
{
    /// <summary>WQ_UNBOUND.</summary>
    public bool IsUnbound => (Flags & 2) != 0;
}

/// <summary>A workqueue's share of a pool (struct pool_workqueue).</summary>
/// <param name="Address">struct pool_workqueue.</param>
/// <param name="Pool">struct worker_pool.</param>
/// <param name="Active">Work that it has in the pool.</param>
/// <param name="Inactive">Work that waits until less is active, as far as its list holds together.</param>
public sealed record PoolWorkqueue(ulong Address, ulong Pool, int Active, Walked<WorkItem> Inactive);

/// <summary>Workqueues and the pools that do their work (kernel/workqueue.c).</summary>
public static class Workqueues
{
    /// <summary>Every pool, by number (worker_pool_idr; pools of softirqs are in it too).</summary>
    /// <exception cref="KernelShapeException">The kernel has no such table, or it does not hold together.</exception>
    /// <exception cref="GuestMemoryException">A pool can't be read.</exception>
    public static List<WorkerPool> Pools(LinuxKernel kernel, TargetLimits limits)
    {
        int shift = PwqShift(kernel);
        return [.. XArrays.IdrEntries(kernel, kernel.Symbol("worker_pool_idr"), "worker_pool_idr", limits).Select(entry => ReadPool(kernel, entry.Value, shift, limits))];
    }

    /// <summary>Every workqueue, in the order of the kernel's list.</summary>
    /// <exception cref="KernelShapeException">The list does not hold together.</exception>
    /// <exception cref="GuestMemoryException">A workqueue can't be read.</exception>
    public static List<Workqueue> Enumerate(LinuxKernel kernel, TargetLimits limits)
    {
        int shift = PwqShift(kernel);
        return [.. Lists.Entries(kernel, kernel.Symbol("workqueues"), "workqueue_struct.list", limits).Select(wq => ReadQueue(kernel, wq, shift, limits))];
    }

    /// <summary>The name of a workqueue.</summary>
    public static string NameOf(LinuxKernel kernel, ulong workqueue) => kernel.ReadText(workqueue, "workqueue_struct.name");

    private static WorkerPool ReadPool(LinuxKernel kernel, ulong pool, int shift, TargetLimits limits)
    {
        ulong attributes = kernel.Read(pool, "worker_pool.attrs");
        return new WorkerPool(
            pool, kernel.ReadS32(pool, "worker_pool.id"), kernel.ReadS32(pool, "worker_pool.cpu"), attributes == 0 ? null : kernel.ReadS32(attributes, "workqueue_attrs.nice"),
            kernel.ReadU32(pool, "worker_pool.flags"), kernel.ReadS32(pool, "worker_pool.nr_workers"), kernel.ReadS32(pool, "worker_pool.nr_idle"),
            Shapes.ReadIfAny(kernel, pool, "worker_pool.watchdog_ts"),
            Walk.Collect(Works(kernel, unchecked(pool + kernel.Offset("worker_pool.worklist")), shift, limits)),
            Walk.Collect(Lists.Entries(kernel, unchecked(pool + kernel.Offset("worker_pool.workers")), "worker.node", limits).Select(worker => ReadWorker(kernel, worker))));
    }

    private static Worker ReadWorker(LinuxKernel kernel, ulong worker)
    {
        ulong work = kernel.Read(worker, "worker.current_work");
        WorkItem? current = null;
        string description = "";
        if (work != 0)
        {
            ulong function = kernel.Read(worker, "worker.current_func"), pwq = kernel.Read(worker, "worker.current_pwq");
            current = new WorkItem(work, function, kernel.Image.Symbolize(function), QueueOfPwq(kernel, pwq));
            description = kernel.ReadText(worker, "worker.desc");
        }

        return new Worker(
            worker, kernel.Read(worker, "worker.task"), kernel.ReadU32(worker, "worker.flags"), current, description,
            kernel.HasMember("worker.rescue_wq") && kernel.Read(worker, "worker.rescue_wq") != 0);
    }

    private static Workqueue ReadQueue(LinuxKernel kernel, ulong wq, int shift, TargetLimits limits)
    {
        ulong rescuer = kernel.Read(wq, "workqueue_struct.rescuer");
        IEnumerable<PoolWorkqueue> pools = Lists.Entries(kernel, unchecked(wq + kernel.Offset("workqueue_struct.pwqs")), "pool_workqueue.pwqs_node", limits).Select(pwq =>
        {
            ulong back = kernel.Read(pwq, "pool_workqueue.wq");
            if (back != wq)
                throw Walk.NotBack(pwq, back, wq, "workqueue_struct.pwqs");

            // Named delayed_works before 5.15 (and stable branches that took the change; commit f97a4a1a3f87, "workqueue: Rename "delayed" (delayed by active management) to "inactive"").
            string inactive = Shapes.FirstOf(kernel, "pool_workqueue.inactive_works", "pool_workqueue.delayed_works");
            return new PoolWorkqueue(
                pwq, kernel.Read(pwq, "pool_workqueue.pool"), kernel.ReadS32(pwq, "pool_workqueue.nr_active"), Walk.Collect(Works(kernel, unchecked(pwq + kernel.Offset(inactive)), shift, limits)));
        });
        return new Workqueue(
            wq, NameOf(kernel, wq), kernel.ReadU32(wq, "workqueue_struct.flags"), rescuer == 0 ? 0 : kernel.Read(rescuer, "worker.task"), Walk.Collect(pools));
    }

    private static IEnumerable<WorkItem> Works(LinuxKernel kernel, ulong head, int shift, TargetLimits limits)
    {
        foreach (ulong work in Lists.Entries(kernel, head, "work_struct.entry", limits))
        {
            ulong function = kernel.Read(work, "work_struct.func"), data = kernel.Read(work, "work_struct.data.counter");

            // WORK_STRUCT_PWQ: above the flags and colours, data is the address of the pool_workqueue.
            string? queue = (data & 4) != 0 ? QueueOfPwq(kernel, data >> shift << shift) : null;
            yield return new WorkItem(work, function, kernel.Image.Symbolize(function), queue);
        }
    }

    /// <summary>Bits of work_struct.data below the pool_workqueue's address: WORK_STRUCT_FLAG_BITS, or WORK_STRUCT_PWQ_SHIFT since 6.9, from the enum itself, because debug options widen it.</summary>
    private static int PwqShift(LinuxKernel kernel)
    {
        Formats.Btf.BtfData? btf = kernel.Image.Types.Btf;
        long bits = 0;
        bool found = btf is not null && (btf.TryFindEnumerator("WORK_STRUCT_PWQ_SHIFT", out bits) || btf.TryFindEnumerator("WORK_STRUCT_FLAG_BITS", out bits));
        return found && bits is >= 4 and <= 16 ? (int)bits : 8;
    }

    /// <summary>A hint for a person: a pointer that leads nowhere is no reason to lose the work itself.</summary>
    private static string? QueueOfPwq(LinuxKernel kernel, ulong pwq)
    {
        if (pwq == 0 || !kernel.Space.TryReadUInt64(new VirtualAddress(unchecked(pwq + kernel.Offset("pool_workqueue.wq"))), out ulong wq, out _))
            return null;
        MemberInfo name = kernel.Image.Types.Member("workqueue_struct.name");
        byte[] raw = new byte[Math.Min(name.BitSize / 8, 256)];
        if (!kernel.Space.TryRead(new VirtualAddress(unchecked(wq + (ulong)name.ByteOffset)), raw, out _))
            return null;
        int nul = raw.AsSpan().IndexOf((byte)0);
        return Encoding.UTF8.GetString(nul < 0 ? raw : raw.AsSpan(0, nul));
    }
}
