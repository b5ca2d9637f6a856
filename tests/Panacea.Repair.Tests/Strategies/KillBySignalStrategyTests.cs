using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed class KillBySignalStrategyTests
{
    [Theory]
    [MemberData(nameof(CrashedGuest.Lines), MemberType = typeof(CrashedGuest))]
    public void The_process_is_unwound_and_dies_before_it_gets_back(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Shape = shape });
        StrategyVerdict verdict = new KillBySignalStrategy().Evaluate(g.Evidence with { Kind = CrashKind.ReadOnlyWrite });
        Assert.True(verdict.Plan is not null, verdict.WhyNot);
        RepairPlan plan = verdict.Plan!;
        ulong task = g.Evidence.Task!.Address;
        Assert.Equal(
            [task + g.Evidence.Kernel.Offset("task_struct.pending.signal.sig"), task + g.Evidence.Kernel.Offset("task_struct.thread_info.flags")], plan.Writes.Take(2).Select(w => w.Address.Value));
        Assert.Equal((0x100UL, 4UL), (BitConverter.ToUInt64(plan.Writes[0].Bytes.Span) & 0x100, BitConverter.ToUInt64(plan.Writes[1].Bytes.Span) & 4));
        Assert.Equal(g.Crash.ReturnAddress, PtRegs.Read(plan.Writes[^1].Bytes.Span).Ip);
        Assert.Equal(["process 321 (victim)"], plan.Lost);
        Assert.DoesNotContain("lives", plan.Explanation, StringComparison.Ordinal);
    }

    /// <summary>What can't be proved is no way out for a process that is to die: the exit path takes it.</summary>
    [Fact]
    public void Where_the_unwinding_cannot_be_proved_it_does_not_apply()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_bitlock", Chain = ["do_syscall_64", "notifier_call_chain"] });
        Assert.Contains("'bts'", new KillBySignalStrategy().Evaluate(g.Evidence).WhyNot);
        using var init = new CrashedGuest(new CrashSpec(), task: k => k.Init);
        Assert.Contains("init", new KillBySignalStrategy().Evaluate(init.Evidence).WhyNot);
        using var timer = new CrashedGuest(new CrashSpec { Preempt = 0x100 });
        Assert.Contains("no process", new KillBySignalStrategy().Evaluate(timer.Evidence).WhyNot);
    }
}
