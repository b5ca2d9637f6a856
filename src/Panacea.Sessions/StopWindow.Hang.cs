using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Repair;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

/// <summary>The stop window of a hang: nobody has stopped the guest, so it is stopped here, some times for a moment, to see what loops.</summary>
internal sealed partial class StopWindow
{
    /// <summary>Short stops whose stacks are compared, and those that may be tried until no interrupt lies on top of what hangs.</summary>
    private const int Glances = 3, MaxGlances = 12;

    /// <summary>Beginnings of names: kernel/printk/, kernel/sched/core.c, kernel/stop_machine.c, kernel/debug/, kernel/panic.c, arch/x86/kernel/reboot.c.</summary>
    private static readonly string[] Meant =
        ["console_unlock", "console_flush_all", "vprintk", "nbcon_", "__pr_flush", "pr_flush", "printk_kthread", "show_state_filter", "sysrq_handle_showstate", "multi_cpu_stop", "kgdb_", "kdb_", "panic", "vpanic", "oops_", "native_machine_", "machine_"];

    private static readonly TimeSpan BetweenGlances = TimeSpan.FromMilliseconds(3);

    /// <summary>Breaks a hang. Throws nothing: what failed stands in the result.</summary>
    /// <param name="all">CPUs that hang, at least one that was not told of before: those are helped. The others count where it has to be told who holds a spinlock.</param>
    /// <param name="whyNot">Why a rung may not be used; null where it may.</param>
    /// <param name="seenTicks">When the hang was seen.</param>
    /// <returns>Null where it went by itself, or the guest stopped for another reason meanwhile: the session finds it standing.</returns>
    public StopResult? HandleHang(IReadOnlyList<HangingCpu> all, Func<RepairKind, CrashEvidence, RungBar?> whyNot, long seenTicks)
    {
        List<HangingCpu> hanging = [.. all.Where(h => !h.IsTold)], told = [.. all.Where(h => h.IsTold)];
        _start = seenTicks;
        Mark("detected");
        var counted = new HashSet<HangingCpu>();
        var stacks = hanging.ToDictionary(h => h.Cpu, _ => new List<Backtrace>());
        var holders = new SpinlockHolders(Math.Min(target.VcpuCount, kernel.Image.Meta.PerCpuBases.Count));
        IHeldGuest? guest = null;
        try
        {
            for (int glance = 1; ; glance++)
            {
                guest = target.Stop();
                if (guest.Reason != StopReason.Requested)
                    return null;
                if (!hanging.All(h => IsAsItWas(h, kernel.Image.KernelOver(target.Memory))))
                {
                    Resume(guest);
                    return null;
                }

                bool isClear = hanging.All(h => IsClear(guest, h)), waits = hanging.All(h => IsInSlowPath(guest, h));
                if (waits)
                {
                    List<HangingCpu> waiting = [.. told.Where(t => StillWaits(guest, t))];
                    counted.UnionWith(waiting);
                    holders.Look(kernel.Image.KernelOver(target.Memory), guest.ReadAllRegisters(), [.. hanging.Concat(waiting).Select(h => h.Cpu)]);
                }
                else
                {
                    holders.Forget();
                }

                bool mayProve = waits && !holders.IsProved;
                if ((glance >= Glances && isClear && !mayProve) || glance >= MaxGlances)
                    break;
                if (isClear)
                {
                    foreach (HangingCpu cpu in hanging)
                        stacks[cpu.Cpu].Add(kernel.Capture.StackOf(target.Memory, guest.ReadRegisters(cpu.Vcpu)));
                }

                Resume(guest);
                if (_lost is not null)
                    return Nothing(hanging[0]);
                if (target.WaitForStop(BetweenGlances) is not { Kind: QemuWaitKind.TimedOut or QemuWaitKind.Woken })
                    return null;
            }
        }
        catch (Exception e)
        {
            Fail(e);
            if (guest is { IsResumed: false })
                Resume(guest);
            return _isLate && _lost is null ? null : Nothing(hanging[0]);
        }

        return Break(guest, hanging, counted, stacks, holders, whyNot);
    }

    /// <summary>One that was told of before waits for a spinlock still.</summary>
    private bool StillWaits(IHeldGuest guest, HangingCpu told) => IsAsItWas(told, kernel.Image.KernelOver(target.Memory)) && IsClear(guest, told) && IsInSlowPath(guest, told);

    /// <returns>Null where it is no hang.</returns>
    private StopResult? Break(IHeldGuest guest, IReadOnlyList<HangingCpu> hanging, IReadOnlyCollection<HangingCpu> counted, Dictionary<int, List<Backtrace>> stacks, SpinlockHolders holders, Func<RepairKind, CrashEvidence, RungBar?> whyNot)
    {
        CrashEvidence? first = null;
        IReadOnlyList<LadderVerdict> firstLadder = [];
        FallbackResult? fallback = null;
        try
        {
            var captured = new List<(HangingCpu Cpu, CrashEvidence Evidence)>();
            foreach (HangingCpu cpu in hanging.Where(h => IsClear(guest, h)))
                captured.Add((cpu, WithEarlierRepairs(kernel.Capture.CaptureHang(target.Memory, guest.ReadRegisters(cpu.Vcpu), cpu.Hang, stacks[cpu.Cpu]))));
            // What those hold that were counted as waiters has to be asked of them all.
            if (captured.Count == hanging.Count && counted.All(t => StillWaits(guest, t)))
            {
                List<CrashEvidence> waiters = [.. captured.Select(c => c.Evidence), .. counted.Select(t => kernel.Capture.CaptureHang(target.Memory, guest.ReadRegisters(t.Vcpu), t.Hang, []))];
                captured = [.. captured.Select(c => (c.Cpu, c.Evidence with { Hang = holders.Of(c.Evidence, waiters) }))];
            }

            Mark("diagnosed");

            // One that does what may take long is left to it, and so are those that wait for it.
            if (captured.Exists(c => IsMeant(c.Evidence)))
            {
                Resume(guest);
                return null;
            }

            // Who waits for another CPU's answer waits for one that hangs, and was seen to earlier than that one: it is the other that is waited for, unless nothing else can be done any more.
            if (Declined is null && captured.Count > 0 && captured.TrueForAll(c => AwaitsAnswer(c.Evidence)))
            {
                Resume(guest);
                return null;
            }

            foreach ((HangingCpu cpu, CrashEvidence evidence) in captured.OrderBy(c => Rank(c.Evidence)))
            {
                // What another CPU is to answer lies on the stack of who waits for it: it can't be led away as long as that one may answer.
                if (Declined is null && AwaitsAnswer(evidence) && first is not null)
                    continue;
                RepairPlan? plan = Choose(evidence, whyNot, evidence.Point, out IReadOnlyList<LadderVerdict> ladder);
                if (first is null)
                    (first, firstLadder) = (evidence, ladder);
                if (plan is null)
                    continue;
                Guarded(() => kernel.Capture.TouchForReport(evidence));
                if (!Apply(guest, cpu.Vcpu, evidence, plan, evidence.Point))
                    continue;
                Mark("applied");
                return End(guest, evidence.Point, evidence, plan, ladder);
            }

            if (first is { } told)
                Guarded(() => kernel.Capture.TouchForReport(told));
        }
        catch (Exception e)
        {
            Fail(e);
        }

        if (_lost is null)
            Guarded(() => fallback = Declined?.Invoke(guest, first));
        return End(guest, first?.Point ?? PointOf(hanging[0]), first, null, firstLadder, fallback);
    }

    /// <summary>Nothing was understood; the guest runs, or is lost.</summary>
    private StopResult Nothing(HangingCpu cpu)
    {
        Mark("resumed");
        return new StopResult { Point = PointOf(cpu), StartedTicks = _start, Timeline = _timeline, Errors = _errors, StoppedUs = _timeline[^1].AtUs, Stops = _stops, Lost = _lost };
    }

    private static DeathPoint PointOf(HangingCpu cpu) => new(Hang.Point, cpu.Progress.Task, 0);

    /// <summary>It has not got on since it was seen to hang.</summary>
    private static bool IsAsItWas(HangingCpu hang, LinuxKernel live)
    {
        CpuProgress now = CpuProgress.Read(live, hang.Cpu);
        return now.Switches == hang.Progress.Switches && now.Task == hang.Progress.Task && (hang.Hang.Kind != CrashKind.HardLockup || now.TimerInterrupts == hang.Progress.TimerInterrupts);
    }

    /// <summary>The vCPU stands in what hangs, not in an interrupt on top of it.</summary>
    private bool IsClear(IHeldGuest guest, HangingCpu hang)
    {
        VcpuRegisters registers = guest.ReadRegisters(hang.Vcpu);
        LinuxKernel live = kernel.Image.KernelOver(target.Memory);
        return !registers.IsUserMode && (PerCpu.PreemptCount(live, hang.Cpu) & PerCpu.InterruptMask) == (hang.PreemptCount & PerCpu.InterruptMask)
            && (hang.Hang.Kind == CrashKind.HardLockup || IsInterruptEntry(registers) is false);
    }

    /// <summary>It stands where a CPU waits for a spinlock: whether anybody holds that is worth some more looks.</summary>
    private bool IsInSlowPath(IHeldGuest guest, HangingCpu hang) => SpinlockHolders.IsSlowPath(kernel.Image.Symbolize(guest.ReadRegisters(hang.Vcpu).Rip)?.Name);

    /// <summary>The first and last instructions of an interrupt, before it is counted and after it no longer is.</summary>
    private bool IsInterruptEntry(VcpuRegisters registers) => kernel.Image.Symbolize(registers.Rip)?.Name is not { } name
        || name.StartsWith("asm_", StringComparison.Ordinal) || name.StartsWith("sysvec_", StringComparison.Ordinal) || name.StartsWith("irqentry_", StringComparison.Ordinal)
        || name is "error_entry" or "error_return" or "common_interrupt" or "sync_regs" or "common_interrupt_return" or "irq_enter_rcu" or "irq_exit_rcu" or "__irq_exit_rcu" or "native_irq_return_iret";

    /// <summary>Work of the kernel's own that gives way to nobody for as long as it takes: writing to a slow console, showing the state of all tasks, stopping the machine, the debugger. The kernel's own
    /// watchdogs are told to look away from it (touch_nmi_watchdog, touch_softlockup_watchdog). Where it waits for a spinlock that nobody can hold, it takes for ever.</summary>
    internal static bool IsMeant(CrashEvidence evidence) => evidence.Hang?.OrphanSpinlock is null && evidence.Stack.Frames.TakeWhile(f => f.Reliability == FrameReliability.Exact).Select(f => evidence.LocationOf(f)?.Name ?? "")
        .Any(name => Array.Exists(Meant, prefix => name.StartsWith(prefix, StringComparison.Ordinal)));

    /// <summary>Who is helped first: what nobody can hold is in nobody's way; one that only waits for another is not to blame as long as there is another, and one that waits for an answer least of all.</summary>
    internal static int Rank(CrashEvidence evidence) => evidence.Hang?.OrphanSpinlock is not null ? 0 : AwaitsAnswer(evidence) ? 3 : IsWaiter(evidence) ? 2 : 1;

    /// <summary>It waits for a lock.</summary>
    private static bool IsWaiter(CrashEvidence evidence) => Innermost(evidence).Any(name => name.Contains("spin_lock_slowpath", StringComparison.Ordinal)
        || name.Contains("queued_read_lock", StringComparison.Ordinal) || name.Contains("queued_write_lock", StringComparison.Ordinal));

    /// <summary>It waits for other CPUs to do what it has called them for.</summary>
    private static bool AwaitsAnswer(CrashEvidence evidence) => Innermost(evidence).Any(name => name.StartsWith("smp_call_function", StringComparison.Ordinal) || name.StartsWith("csd_lock_wait", StringComparison.Ordinal)
        || name is "multi_cpu_stop" or "stop_one_cpu" or "native_flush_tlb_multi" or "text_poke_sync");

    private static IEnumerable<string> Innermost(CrashEvidence evidence) =>
        evidence.Stack.Frames.TakeWhile(f => f.Reliability == FrameReliability.Exact && (f.Index == 0 || !f.IsTrap)).Take(4).Select(f => evidence.LocationOf(f)?.Name ?? "");
}
