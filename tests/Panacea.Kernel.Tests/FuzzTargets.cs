using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

/// <summary>What is fuzzed of the kernel: guests with the readers that look at them, and the bytes that come from files and text.</summary>
public static partial class FuzzTargets
{
    private static readonly TargetLimits Small = TargetLimits.Default with { MaxTasks = 2000, MaxModules = 200, MaxModuleBytes = 1 << 20, MaxPrintkBytes = 1 << 20, MaxKernelImageBytes = 16 << 20, MaxChain = 2000 };
    private static readonly TargetLimits Short = Small with { MaxChain = 500 };

    /// <summary>Tasks, modules, kernel log, stacks, run queues, sleepers, locks, timers.</summary>
    internal static FuzzedGuest Scheduling(KernelShape shape)
    {
        SyntheticKernel k = Make(shape);
        WholeKernel whole = k.MakeWhole();
        k.Link();
        ulong text = k.TextBase, last = k.Tasks[^1].Address;
        GprFile gpr = default;
        gpr[Gpr.Rbx] = k.Victim.Address;
        VcpuRegisters idle = k.Vcpu(0, 0, default), spinning = k.Vcpu(0, k["native_queued_spin_lock_slowpath:spin"], gpr);
        VcpuRegisters[] noted = [idle with { Known = RegisterGroups.Integer }, spinning with { Known = RegisterGroups.Integer, Vcpu = 1 }];
        k.SaveForCrashKernel(1, noted[1]);
        ulong[] symbolized = [text, k["ct_int"] + 3, k.Modules[0].TextStart + 5, 0, ulong.MaxValue];
        ulong[] made = [whole.Mutex, whole.Pool, whole.Worker, whole.Timer, whole.Wheel, .. whole.HighResolution, whole.File, k["workqueues"], k["modules"], k["init_pid_ns"]];
        return new FuzzedGuest(k, [.. Regions(k, all: false), (k.Physical(k["crash_notes"]), 8), (k.Physical(k.CrashNoteOf(1)), 356), .. made.Select(at => (k.Physical(at), 512))], [.. Pointers(k), .. made])
        {
            Looks =
            [
                ("tasks", kernel => Tasks.Enumerate(kernel, Small).ForEach(t => Tasks.TryReadCommandLine(kernel, t, 4096, out _, out _))),
                ("modules", kernel => Modules.Enumerate(kernel, Small)),
                ("kernel log", kernel => Printk.Tail(kernel, int.MaxValue, Small)),
                ("current task", kernel => PerCpu.CurrentTask(kernel, 0)),
                ("preempt count", kernel => PerCpu.PreemptCount(kernel, 1)),
                ("stacks", kernel => _ = Stacks.Of(kernel, 0, k.Victim.Address)),
                ("cpu of a vcpu", kernel => _ = PerCpu.CpuOf(kernel, idle)),
                ("run queues", kernel => RunQueues.ReadAll(kernel, Small)),
                ("cpu states", kernel => CpuStates.ReadAll(kernel)),
                ("clock", kernel => KernelClock.Read(kernel)),
                ("rcu", kernel => RcuState.Read(kernel, Small)),
                ("timer wheels", kernel => Timers.Wheels(kernel, Small)),
                ("hrtimers", kernel => Timers.HighResolution(kernel, Small)),
                ("pools", kernel => Workqueues.Pools(kernel, Small)),
                ("workqueues", kernel => Workqueues.Enumerate(kernel, Small)),
                ("task details", kernel => TaskDetails.Read(kernel, Tasks.ReadTask(kernel, k.Victim.Address))),
                ("frozen tasks", kernel => FrozenTasks.Enumerate(kernel, Small)),
                ("fuses", kernel => _ = Fuses.Enumerate(kernel, new List<string>()).Count + Fuses.FindRoom(kernel, -5).ToString(System.Globalization.CultureInfo.InvariantCulture).Length),
                ("sleep times", kernel => new SleepTimes(kernel).Of(k.Kthread.Address)),
                ("backtrace", kernel => new TaskBacktraces(kernel, Small).Of(last)),
                ("waits", kernel => WaitGraph.Build(kernel, Tasks.Enumerate(kernel, Small), new TaskBacktraces(kernel, Small), Small, interruptible: true)),
                .. Enum.GetValues<LockKind>().Select(kind => ($"lock {kind}", (Action<LinuxKernel>)(kernel => Locks.Read(kernel, kind, k.Mutex(0), Small)))),
                ("crash notes", kernel => CrashNotes.Read(kernel, noted)),
                ("spinning cpus", kernel => _ = new SpinningCpus(kernel, Small, new CodeMap(kernel.Image)).Find([spinning])),
                ("symbols", kernel => Array.ForEach(symbolized, address =>
                {
                    _ = kernel.Image.Symbolize(address);
                    _ = kernel.Image.TryFindFunction(address, out _);
                    _ = kernel.Image.IsText(address);
                })),
            ],
        };
    }

    /// <summary>A guest of which an image is to be made, whatever stands in it: page tables, symbols, types, unwind rows, data.</summary>
    internal static FuzzedGuest Whole(KernelShape shape)
    {
        SyntheticKernel k = Make(shape);
        return new FuzzedGuest(k, Regions(k, all: true), Pointers(k)) { Looks = [("tasks", kernel => Tasks.Enumerate(kernel, Small)), ("modules", kernel => Modules.Enumerate(kernel, Small)), ("kernel log", kernel => Printk.Tail(kernel, 100, Small))] };
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

    private static ulong[] Pointers(SyntheticKernel k) =>
    [
        .. k.Tasks.Select(t => t.Address), .. k.Tasks.Select(t => t.Signal), .. k.Tasks.Select(t => t.Stack), .. k.Modules.Select(m => m.Address), k.Mutex(0), k.Mutex(1), k.Entity(k.Victim), k.Entity(k.Init),
        k["init_task"], k["modules"], k["printk_ring"], k.PerCpu("runqueues", 0), k.PerCpu("timer_bases", 0), k["ct_int"] + 3, k.TextBase,
    ];

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
