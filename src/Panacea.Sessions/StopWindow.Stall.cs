using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Sessions.Hangs;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

/// <summary>The stop window of what no function is to blame for any more: a disk whose requests do not get on, a CPU that has lost its tick. The guest is stopped where a CPU takes an interrupt, or is about to let others run, from
/// where the kernel's own functions can be called as from there.</summary>
internal sealed partial class StopWindow
{
    /// <summary>kernel/softirq.c and kernel/sched/core.c: functions without arguments that CPUs come by.</summary>
    private static readonly string[] Passages = ["irq_enter_rcu", "schedule"];

    /// <summary>Those of them at which interrupts are off.</summary>
    private static readonly string[] Entries = ["irq_enter_rcu"];

    /// <summary>arch/x86/kernel/apic/ipi.c, native_send_call_func_single_ipi(int cpu): has a CPU look for functions that it is to call; where there are none it only takes the interrupt.</summary>
    private const string Interrupt = "native_send_call_func_single_ipi";

    /// <summary>Others that come by are let through: a stop each.</summary>
    private const int MaxPassing = 256;

    /// <summary>Helps a disk. Throws nothing: what failed stands in the result.</summary>
    /// <param name="stall">What was seen.</param>
    /// <param name="limits">Ceilings.</param>
    /// <param name="whyNot">Why a rung may not be used; null where it may.</param>
    /// <param name="seenTicks">When it was seen.</param>
    /// <returns>Null where it got on by itself, or the guest stopped for another reason meanwhile: the session finds it standing.</returns>
    public StopResult? HandleStall(DiskStall stall, TargetLimits limits, Func<RepairKind, CrashEvidence, RungBar?> whyNot, long seenTicks) => Help(
        new DeathPoint(Hang.Point, stall.Queue.Address, 0), new Hang(CrashKind.StalledIo, TimeSpan.Zero, Told(stall)) { Stall = stall }, [Tick], live => StallWatch.IsStill(stall, live, limits), _ => true, null, whyNot, seenTicks);

    /// <summary>Helps a CPU that has lost its tick.</summary>
    /// <inheritdoc cref="HandleStall"/>
    public StopResult? HandleLostTick(LostTick lost, Func<RepairKind, CrashEvidence, RungBar?> whyNot, long seenTicks) => Help(
        new DeathPoint(Hang.Point, lost.Timer.Address, 0), new Hang(CrashKind.LostTick, TimeSpan.Zero, lost.Told) { Timer = lost.Timer }, lost.Timer.IsQueued ? Entries : Passages, live => TickWatch.IsStill(lost, live),
        registers => PerCpu.CpuOf(kernel.Image.KernelOver(target.Memory), registers) == lost.Cpu, lost.Cpu, whyNot, seenTicks);

    private StopResult? Help(
        DeathPoint point, Hang hang, IReadOnlyList<string> places, Func<LinuxKernel, bool> isStill, Func<VcpuRegisters, bool> isWanted, int? called, Func<RepairKind, CrashEvidence, RungBar?> whyNot, long seenTicks)
    {
        _start = seenTicks;
        Mark("detected");
        IHeldGuest? guest = null;
        CrashEvidence? evidence = null;
        try
        {
            ulong[] addresses = [.. places.Select(kernel.Image.KernelOver(target.Memory).Symbol)];
            guest = target.Stop();
            if (guest.Reason != StopReason.Requested)
                return null;
            if (!isStill(kernel.Image.KernelOver(target.Memory)))
            {
                Resume(guest);
                return null;
            }

            guest = Meet(guest, addresses, isWanted, called);
            if (guest is null)
                return null;
            VcpuRegisters registers = guest.ReadRegisters(guest.StoppedVcpu);
            if (guest.Reason != StopReason.Breakpoint || !addresses.Contains(registers.Rip))
            {
                _errors.Add($"{string.Join(" or ", places)} was not reached in time");
                return End(guest, point, null, null, []);
            }

            if (!isStill(kernel.Image.KernelOver(target.Memory)))
            {
                Resume(guest);
                return null;
            }

            evidence = kernel.Capture.CaptureHang(target.Memory, registers, hang, []);
            Mark("diagnosed");
            return Repair(guest, evidence, whyNot);
        }
        catch (Exception e)
        {
            return Failed(e, guest, point, evidence);
        }
    }

    /// <summary>Lets the guest run until a CPU that is wanted comes by one of some places; with the death points armed alone again.</summary>
    /// <returns>The guest, standing there, or after the patience is over anywhere. Null where it stopped for another reason, which is the session's.</returns>
    /// <param name="guest">The guest.</param>
    /// <param name="places">The places.</param>
    /// <param name="isWanted">The CPU with these registers is.</param>
    /// <param name="called">The CPU that is wanted, where it may be idle: the first other one that comes by, whose place must be a function without arguments, sends it an interrupt.</param>
    private IHeldGuest? Meet(IHeldGuest guest, ulong[] places, Func<VcpuRegisters, bool> isWanted, int? called)
    {
        long deadline = Environment.TickCount64 + (long)WakePatience.TotalMilliseconds;
        target.ArmBreakpoints([.. kernel.Addresses, .. places]);
        Resume(guest);
        for (int passing = 0; _lost is null;)
        {
            GuestWait wait = target.WaitForStop(TimeSpan.FromMilliseconds(Math.Max(0, deadline - Environment.TickCount64)));
            if (wait.Kind == QemuWaitKind.Gone)
                return null;
            if (wait.Kind == QemuWaitKind.Woken)
                continue;
            guest = wait.Guest ?? target.Stop();
            VcpuRegisters? at = guest.Reason == StopReason.Breakpoint ? guest.ReadRegisters(guest.StoppedVcpu) : null;
            if (at is not null && places.Contains(at.Rip) && !isWanted(at) && passing++ < MaxPassing && Environment.TickCount64 < deadline)
            {
                if (called is { } cpu && passing == 1 && kernel.Image.TryFindSymbol(Interrupt, out ulong interrupt))
                    Call(guest, at, interrupt, (ulong)cpu);
                Resume(guest);
                continue;
            }

            target.ArmBreakpoints(kernel.Addresses);
            return guest.Reason == StopReason.Other || (at is not null && kernel.PointAt(at.Rip) is not null) ? null : at is null || isWanted(at) ? guest : Late(guest);
        }

        return null;
    }

    /// <summary>Only others have come by: the guest stands for one of them, and goes on.</summary>
    private IHeldGuest? Late(IHeldGuest guest)
    {
        Resume(guest);
        return null;
    }

    private static IReadOnlyList<string> Told(DiskStall stall)
    {
        VirtqueueProgress at = stall.Progress;
        return
        [
            $"{stall.Disk.Device.Name}, queue {stall.Queue.HardwareQueue}: the driver has offered {at.Offered} requests, the device has answered {at.Answered}{(at.Taken is { } taken ? $" and taken {taken}" : "")}, the driver has looked at {at.Heard} answers (of 65,536 counted)",
            .. stall.Requests.Select(r => $"{r.Operation} of {r.Bytes} bytes at sector {r.Sector}: {(r.IsComplete ? "answered, not done" : "issued, not answered")}"),
            .. stall.Kind == StallKind.QueueNotRun ? (string[])[$"the request at 0x{stall.Waiting.Address:x} waits to be given to the driver"] : [],
        ];
    }
}
