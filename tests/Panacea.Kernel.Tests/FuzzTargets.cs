using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

/// <summary>One entry per reader of guest memory, for a fuzzer and for the smoke test. The bytes say what is changed in a healthy synthetic kernel: seven bytes a change, which region, where in it,
/// what to write. Whatever is written, a target returns or throws what its reader promises.</summary>
public static partial class FuzzTargets
{
    private static readonly TargetLimits Small = TargetLimits.Default with { MaxTasks = 2000, MaxModules = 200, MaxModuleBytes = 1 << 20, MaxPrintkBytes = 1 << 20, MaxKernelImageBytes = 16 << 20, MaxChain = 2000 };

    /// <summary>Values that lie at an edge of something.</summary>
    private static readonly ulong[] Edges =
    [
        0, 1, 7, 8, 0x7f, 0xff, 0xfff, 0x1000, 0x7fff_ffff, 0x8000_0000, 0xffff_ffff, 0x1_0000_0000, 0x7fff_ffff_ffff_ffff, 0x8000_0000_0000_0000, 0xffff_8880_0000_0000,
        0xffff_ffff_8000_0000, 0xffff_ffff_ffff_f000, ulong.MaxValue - 7, ulong.MaxValue - 1, ulong.MaxValue,
    ];

    /// <summary>Building a repair image from a guest whose page tables, symbols, types, unwind rows and data are changed.</summary>
    public static void Build(ReadOnlySpan<byte> data, string cache, KernelShape shape)
    {
        SyntheticKernel guest = Make(shape);
        Change(guest, data, all: true);
        try
        {
            using RepairImage image = KernelGuest.Build(guest, cache, limits: Small);
            Look(image, guest);
        }
        catch (Exception e) when (e is NotLinuxException or RepairImageException)
        {
            // The promised errors.
        }
    }

    /// <summary>Tasks, modules, kernel log, stacks of a guest whose data changed after its image was made.</summary>
    public static void Subsystems(ReadOnlySpan<byte> data, RepairImage image, SyntheticKernel guest)
    {
        Change(guest, data, all: false);
        Look(image, guest);
    }

    internal static SyntheticKernel Make(KernelShape shape)
    {
        var guest = new SyntheticKernel(new SyntheticKernelOptions { Shape = shape });
        guest.AddModule("first");
        guest.AddModule("second");
        guest.AddTask(400, "thread", guest.Victim);
        SyntheticTask[] sleepers = [guest.AddTask(600, "sleeper", state: 2), guest.AddTask(601, "sleeper", state: 2)];
        guest.HoldMutex(guest.Mutex(0), sleepers[1].Address, sleepers[0]);
        guest.HoldMutex(guest.Mutex(1), sleepers[0].Address, sleepers[1]);
        guest.QueueFair(guest.Queue(0, "cfs"), [guest.Entity(guest.Victim), guest.Entity(guest.Init), guest.Entity(sleepers[0])], current: true);
        guest.Link();
        return guest;
    }

    private static void Look(RepairImage image, SyntheticKernel guest)
    {
        LinuxKernel kernel = image.KernelOver(guest.Memory);
        Typed(() => Tasks.Enumerate(kernel, Small).ForEach(t => Tasks.TryReadCommandLine(kernel, t, 4096, out _, out _)));
        Typed(() => Modules.Enumerate(kernel, Small));
        Typed(() => Printk.Tail(kernel, int.MaxValue, Small));
        Typed(() => PerCpu.CurrentTask(kernel, 0));
        Typed(() => PerCpu.PreemptCount(kernel, 1));
        _ = Stacks.Of(kernel, 0, guest.Victim.Address);
        _ = PerCpu.CpuOf(kernel, guest.Vcpu(0, 0, default));
        LookAtScheduler(kernel, guest);
        foreach (ulong address in (ulong[])[guest.TextBase, guest["ct_int"] + 3, guest.Modules[0].TextStart + 5, 0, ulong.MaxValue])
        {
            _ = image.Symbolize(address);
            _ = image.TryFindFunction(address, out _);
            _ = image.TryFind(address, out _);
            _ = image.IsText(address);
        }
    }

    /// <summary>Run queues, sleepers, locks, timers and the rest.</summary>
    private static void LookAtScheduler(LinuxKernel kernel, SyntheticKernel guest)
    {
        Typed(() => RunQueues.ReadAll(kernel, Small));
        Typed(() => CpuStates.ReadAll(kernel));
        Typed(() => KernelClock.Read(kernel));
        Typed(() => RcuState.Read(kernel, Small));
        Typed(() => Timers.Wheels(kernel, Small));
        Typed(() => Timers.HighResolution(kernel, Small));
        Typed(() => Workqueues.Pools(kernel, Small));
        Typed(() => Workqueues.Enumerate(kernel, Small));
        Typed(() => TaskDetails.Read(kernel, Tasks.ReadTask(kernel, guest.Victim.Address)));
        Typed(() => new SleepTimes(kernel).Of(guest.Kthread.Address));
        Typed(() => new TaskBacktraces(kernel, Small).Of(guest.Tasks[^1].Address));
        Typed(() => WaitGraph.Build(kernel, Tasks.Enumerate(kernel, Small), new TaskBacktraces(kernel, Small), Small, interruptible: true));
        foreach (LockKind kind in Enum.GetValues<LockKind>())
            Typed(() => Locks.Read(kernel, kind, guest.Victim.Address, Small));
        GprFile gpr = default;
        gpr[Gpr.Rbx] = guest.Victim.Address;
        _ = new SpinningCpus(kernel, Small, new CodeMap(kernel.Image)).Find([guest.Vcpu(0, guest["native_queued_spin_lock_slowpath:spin"], gpr)]);
    }

    private static void Typed(Action look)
    {
        try
        {
            look();
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException)
        {
            // The promised errors.
        }
    }

    private static void Change(SyntheticKernel guest, ReadOnlySpan<byte> data, bool all)
    {
        Apply(guest, data, Regions(guest, all));
    }

    private static void Apply(SyntheticKernel guest, ReadOnlySpan<byte> data, (ulong Physical, int Bytes)[] regions)
    {
        for (; data.Length >= 7; data = data[7..])
        {
            (ulong physical, int bytes) = regions[data[0] % regions.Length];
            ulong at = physical + (ulong)((data[1] | data[2] << 8 | data[3] << 16) % bytes);
            if (data[4] % 2 == 0)
                at &= ~7UL;
            byte[] value = BitConverter.GetBytes(Edges[data[5] % Edges.Length]);
            int width = data[4] % 8 < 4 ? 8 : 1 << data[4] % 4;
            if (data[4] % 16 == 15)
                value = [data[6]];
            guest.Memory.Write(at, value.AsSpan(0, Math.Min(width, value.Length)));
        }
    }

    private static (ulong Physical, int Bytes)[] Regions(SyntheticKernel guest, bool all)
    {
        var regions = new List<(ulong, int)>
        {
            (guest.Physical(guest["nr_cpu_ids"]), 0x3000), (guest.Physical(guest.Victim.Address), guest.Types.SizeOf("task_struct")), (guest.Physical(guest.Victim.Signal), 24),
            (guest.Physical(guest["printk_ring"]), 0x400), (guest.Physical(guest.Modules[0].Address), guest.Types.SizeOf("module")), (guest.Physical(guest.Modules[1].Address), 0x80),
            (guest.Physical(guest.PerCpuBase(0)), 0x200), (guest.Physical(guest.Get(guest.Victim.Address, "task_struct.mm")), 24),
            (guest.Physical(guest.Get(guest.Modules[0].Address, "module.kallsyms")), guest.Types.SizeOf("mod_kallsyms")),
            (guest.Physical(guest.Mutex(0)), 256), (guest.Physical(guest.PerCpu("runqueues", 0)), guest.Types.SizeOf("rq")), (guest.Physical(guest.PerCpu("timer_bases", 0)), 0x3000),
            (guest.Physical(guest["rcu_state"]), 0x400), (guest.Physical(guest.Tasks[^1].Stack + 0x3000), 0x1000), (guest.Physical(guest.Tasks[^1].Address), guest.Types.SizeOf("task_struct")),
        };
        if (all)
        {
            ulong btf = guest["__start_BTF"], ips = guest["__start_orc_unwind_ip"], orc = guest["__start_orc_unwind"];
            regions.AddRange(
            [
                (guest.Tables.Root.Value, (int)(guest.Tables.TablesEnd - guest.Tables.Root.Value)), (guest.Physical(btf), (int)(guest["__stop_BTF"] - btf)), (guest.Physical(btf), 64),
                (guest.Physical(ips), (int)(guest["__stop_orc_unwind_ip"] - ips)), (guest.Physical(orc), (int)(guest["__stop_orc_unwind"] - orc)),
                (guest.Physical(guest.KallsymsTables["kallsyms_offsets"]), 0x900), (guest.Physical(guest.KallsymsTables["kallsyms_names"]), 0x2000),
                (guest.Physical(guest["__start_notes"]), 64), (guest.Physical(guest["linux_banner"]), 64), (guest.Physical(guest.Modules[0].TextStart + 0x3000), 0x1800),
            ]);
        }

        return [.. regions];
    }
}
