using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.Target.Paging;
using Panacea.TestKit.Memory;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed partial class RetryStrategyTests
{
    /// <summary>A handler of an interrupt that finds interrupts on goes on with interrupts off, as it was called; elsewhere they may have been on.</summary>
    [Theory]
    [InlineData(0x1_0000u, true)]
    [InlineData(0u, false)]
    public void Interrupts_that_are_on_in_a_handler_are_turned_off(uint preempt, bool isHandler)
    {
        using CrashedGuest g = Crashed("ct_again_flag", _ => { }, preempt, entry: "asm_exc_invalid_op");
        Assert.True(g.Evidence.Crash.InterruptsEnabled);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.True(isHandler == verdict.Plan is not null, $"{verdict.WhyNot}; {string.Join("; ", verdict.Tried)}");
        if (verdict.Plan is not { } plan)
            return;
        Assert.Contains("interrupts off instead of on", plan.Explanation, StringComparison.Ordinal);
        Dictionary<WritableRegister, ulong> set = plan.Continuations[^1].Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal(g.Guest["ct_again_flag:off"], set[WritableRegister.Rip]);
        Assert.Equal(0UL, set[WritableRegister.Rflags] & 0x200);
    }

    /// <summary>A function of a task that finds interrupts off goes on with interrupts on where nobody on the way in has turned them off.</summary>
    [Theory]
    [InlineData("do_syscall_64", true)]
    [InlineData("vfs_write", false)]
    [InlineData("exc_page_fault", true)]
    public void Interrupts_that_nobody_has_turned_off_are_turned_on(string bottom, bool areOn)
    {
        using CrashedGuest g = Crashed("ct_again_unflagged", _ => { }, chain: bottom switch { "do_syscall_64" => [bottom, "ksys_write", "vfs_write", "ct_more"], "exc_page_fault" => [bottom, "do_user_addr_fault", "ct_more"], _ => [bottom, "ct_more"] },
            entry: "asm_exc_invalid_op", flags: 0x1_0046, bottom: bottom == "exc_page_fault" ? "asm_exc_page_fault" : "entry_SYSCALL_64");
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.True(areOn == verdict.Plan is not null, $"{verdict.WhyNot}; {string.Join("; ", verdict.Tried)}");
        if (verdict.Plan is not { } plan)
            return;
        Assert.Contains("interrupts on instead of off", plan.Explanation, StringComparison.Ordinal);
        Dictionary<WritableRegister, ulong> set = plan.Continuations[^1].Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal(g.Guest["ct_again_unflagged:on"], set[WritableRegister.Rip]);
        Assert.Equal(0x200UL, set[WritableRegister.Rflags] & 0x200);
    }

    /// <summary>What an interrupt's entry calls is called with interrupts off, and may have turned them off itself.</summary>
    [Theory]
    [InlineData("sysvec_apic_timer_interrupt", false)]
    [InlineData("vfs_write", null)]
    public void What_the_entry_of_an_interrupt_calls_begins_with_interrupts_off(string caller, bool? interrupts)
    {
        using CrashedGuest g = Crashed("ct_again_off", m => m[Pointer] = m.Base + Target, chain: [caller, "ct_outer"], flags: 0x1_0046);
        int faulty = g.Evidence.FaultyFrame!.Value;
        AbandonedFrames abandoned = AbandonedFrames.Of(g.Evidence, faulty);
        Assert.True(abandoned.ChangedInterrupts);
        Assert.Equal(interrupts, Surroundings.Of(g.Evidence, faulty, abandoned).Interrupts);
    }

    /// <summary>A callee has not given back the address of a variable of the CPU's own; where the task may have come to another CPU since, it may be right.</summary>
    [Theory]
    [InlineData(1u, true)]
    [InlineData(0u, false)]
    public void An_address_of_the_CPU_s_own_is_put_right(uint preempt, bool isPutRight)
    {
        ulong own = 0;
        using CrashedGuest g = new(new CrashSpec
        {
            // Between STAC and CLAC: the trap may have been about a process's memory, so that none of it is ruled out.
            Function = "ct_again_percpu", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], Preempt = preempt, Flags = 0x5_0246,
            Prepare = (kernel, _) =>
            {
                own = kernel.PerCpuBase(0);
                kernel.WriteU64(own, own);
                return new Dictionary<Gpr, ulong> { [Gpr.Rbx] = kernel["ct_int"] };
            },
        });
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.True(isPutRight == (verdict.Plan?.Explanation.Contains($"rbx 0x{own + 0x40:x} instead of", StringComparison.Ordinal) == true), $"{verdict.Plan?.Explanation} {verdict.WhyNot}; {string.Join("; ", verdict.Tried)}");
    }

    /// <summary>A bit that had flipped made something else of the instruction: nothing of that was done.</summary>
    [Theory]
    [InlineData("asm_exc_invalid_op", true)]
    [InlineData("asm_exc_page_fault", true)]
    [InlineData("asm_exc_double_fault", false)]
    public void An_instruction_that_can_not_have_trapped_is_executed(string entry, bool isExecuted)
    {
        using CrashedGuest g = Crashed("ct_untrapping", m => m[Pointer] = 7, chain: ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], entry: entry);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Equal(isExecuted, verdict.Plan?.Explanation.Contains("is not there any more", StringComparison.Ordinal) == true);
        if (!isExecuted)
            return;
        ulong ip = entry == "asm_exc_page_fault" ? PtRegs.Read(verdict.Plan!.Writes[^1].Bytes.Span).Ip : verdict.Plan!.Continuations[^1].Registers.Single(r => r.Register == WritableRegister.Rip).Value;
        Assert.Equal(g.Guest["ct_untrapping:fault"], ip);
    }

    /// <summary>Where an instruction that accesses memory would find it now, another one has trapped: nothing has to be replayed. Where it would not, this has trapped.</summary>
    [Theory]
    [InlineData(true)]
    [InlineData(false)]
    public void An_instruction_that_would_not_trap_now_is_executed(bool isMapped)
    {
        using CrashedGuest g = new(new CrashSpec
        {
            Function = "ct_readable", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"],
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = isMapped ? kernel.Allocate(64) : 0x1_0000, [Gpr.Rcx] = 5 },
        });
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Equal(isMapped, verdict.Plan?.Explanation.Contains("does not with the registers and the memory of now", StringComparison.Ordinal) == true);
        if (!isMapped)
            return;
        PtRegs next = PtRegs.Read(verdict.Plan!.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_readable:fault"], g.Crash.FaultSp, 5ul), (next.Ip, next.Sp, next.Gpr[Gpr.Rcx]));
        Assert.Empty(verdict.Plan.Risks);
    }

    /// <summary>Who has turned interrupts off since he was called goes on with them off.</summary>
    [Fact]
    public void What_a_function_has_made_of_interrupts_stays()
    {
        using CrashedGuest g = new(new CrashSpec
        {
            Function = "ct_masked", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], Flags = 0x1_0046,
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = kernel.Allocate(64), [Gpr.Rcx] = 0x10 },
        });
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.True(verdict.Plan is not null, $"{verdict.WhyNot}; {string.Join("; ", verdict.Tried)}");
        Assert.Contains("from its last call", verdict.Plan!.Explanation, StringComparison.Ordinal);
        Assert.DoesNotContain("interrupts", verdict.Plan.Explanation, StringComparison.Ordinal);
        Assert.False(PtRegs.Read(verdict.Plan.Writes[^1].Bytes.Span).InterruptsEnabled);
    }

    /// <summary>What the crashed call has exchanged for what is there is not there any more, and is what it would go on with: made again, the call would take its own value for the one before.</summary>
    [Theory]
    [InlineData(5UL, false)]
    [InlineData(7UL, false)]
    public void A_call_that_needs_what_it_has_overwritten_is_not_made_again(ulong word, bool again)
    {
        using CrashedGuest g = Crashed("ct_again_swapped", m => (m[Pointer], m[Word]) = (m.Base + Target, word), chain: ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"]);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.True(again == verdict.Plan is not null, verdict.Plan?.Explanation ?? string.Join("; ", [verdict.WhyNot!, .. verdict.Tried]));
    }

    /// <summary>Where a replay ends in the first round of a loop, what the crashed call had done in those before is not compared, and would be done again.</summary>
    [Fact]
    public void A_replay_that_ends_in_a_loop_says_nothing_of_the_rounds_before()
    {
        using CrashedGuest g = Crashed("ct_again_rounds", m => (m[Pointer], m[Number]) = (m.Base + Target, 3), chain: ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"]);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.DoesNotContain("is called again", verdict.Plan?.Explanation ?? "", StringComparison.Ordinal);
        Assert.DoesNotContain(new RetryStrategy().Alternatives(g.Evidence), v => v.Plan!.Explanation.Contains("is called again", StringComparison.Ordinal));
    }

    /// <summary>What is still damaged traps again.</summary>
    [Fact]
    public void An_instruction_that_is_still_another_is_not_executed()
    {
        using CrashedGuest g = Crashed("ct_untrapping", m => m[Pointer] = 7, chain: ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"], entry: "asm_exc_invalid_op");
        g.Guest.Memory.Write(g.Guest.Physical(g.Guest["ct_untrapping:fault"]), [0x06]);
        CrashEvidence again = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.DoesNotContain("is not there any more", new RetryStrategy().Evaluate(again).Plan?.Explanation ?? "", StringComparison.Ordinal);
    }

    /// <summary>What lies between an argument's being set and the call, and only stores, was done once, and is not done again to tell the argument.</summary>
    [Fact]
    public void What_only_stores_does_not_hide_how_a_call_was_set_up()
    {
        ulong start = 0;
        using CrashedGuest g = new(new CrashSpec
        {
            Function = "ct_again_stored", Inner = ["ct_uses"], Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"],
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = start = kernel.Allocate(256), [Gpr.Rdi] = 0 },
        });
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Contains($"rdi 0x{start:x} instead of 0x0: over a copy of memory ct_uses, from its entry", verdict.Plan?.Explanation ?? verdict.WhyNot, StringComparison.Ordinal);
        Assert.DoesNotContain(verdict.Plan!.Writes, w => w.Address.Value >= start && w.Address.Value < start + 256);
    }

    /// <summary>A result that no register holds any more is where the function has put it, in its own frame; not where others may have written, for they were given its address.</summary>
    [Theory]
    [InlineData("ct_again_spilled", true, true)]
    [InlineData("ct_again_spilled", false, false)]
    [InlineData("ct_again_shared", true, false)]
    public void What_a_function_has_stored_in_its_frame_tells_what_a_call_returned(string function, bool isStored, bool isTold)
    {
        ulong target = 0;
        using CrashedGuest g = new(new CrashSpec
        {
            Function = function, Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"],
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = target = kernel.Allocate(64), [Gpr.Rcx] = 0, [Gpr.Rax] = 0 },
        });
        g.Guest.WriteU64(g.Crash.FaultSp, isStored ? target : 0);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point));
        Assert.True(
            isTold == (verdict.Plan?.Explanation.Contains($"rcx 0x{target:x} instead of 0x0: over a copy of memory ct_again_spilled, from its last call", StringComparison.Ordinal) == true),
            $"{verdict.Plan?.Explanation} {verdict.WhyNot}; {string.Join("; ", verdict.Tried)}");
    }

    /// <summary>What time it is behind the place of the crash nobody need know.</summary>
    [Fact]
    public void A_clock_that_is_read_behind_the_crash_says_nothing_against_going_on()
    {
        using CrashedGuest g = Crashed("ct_again_clock", m => m[Pointer] = m.Base + Target, chain: ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"]);
        RepairPlan? plan = new RetryStrategy().Evaluate(g.Evidence).Plan;
        Assert.Contains("the replay ends behind the place of the crash, where it reads a clock", plan?.Risks ?? []);
        Assert.Equal(Confidence.Medium, plan!.Confidence);
    }

    /// <summary>What a dispatch point has called, and the dispatch point: who has called that has nothing to do with it.</summary>
    [Fact]
    public void Nobody_is_asked_beyond_a_dispatch_point()
    {
        using CrashedGuest g = new(new CrashSpec { Function = "ct_int", Chain = ["do_syscall_64", "ksys_write", "vfs_write", "call_timer_fn"] });
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        string[] said = [verdict.WhyNot!, .. verdict.Tried];
        Assert.Contains(said, s => s.StartsWith("call_timer_fn, ", StringComparison.Ordinal));
        Assert.DoesNotContain(said, s => s.StartsWith("vfs_write, ", StringComparison.Ordinal));
    }

    /// <summary>One argument can't be told, for it was read through a register that is not known; the function does without it.</summary>
    [Fact]
    public void What_can_not_be_told_of_a_call_may_be_of_no_matter()
    {
        ulong start = 0;
        using CrashedGuest g = new(new CrashSpec
        {
            Function = "ct_again_setup", Inner = ["ct_uses"], Chain = ["do_syscall_64", "ksys_write", "vfs_write", "ct_more"],
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = start = kernel.Allocate(256), [Gpr.Rdi] = 0 },
        });
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Contains($"rdi 0x{start:x} instead of 0x0: over a copy of memory ct_uses, from its entry", verdict.Plan?.Explanation ?? verdict.WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A wrong address where a device's registers were meant: no replay asks a device, and the CPU that goes on does.</summary>
    [Fact]
    public void What_leads_to_a_device_now_is_past_the_crash()
    {
        const ulong device = 0xffff_ffff_ff5f_d000;
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = device, prepare: (kernel, _) => kernel.Tables.Map(device, 0xfee0_0000, access: PageAccess.Writable | PageAccess.NoExecute), wrong: Argument);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Equal((g.Evidence.Crash.Ip, device), (PtRegs.Read(plan.Writes[^1].Bytes.Span).Ip, PtRegs.Read(plan.Writes[^1].Bytes.Span).Gpr[Gpr.Rax]));
        Assert.Contains(plan.Risks, r => r.Contains("which is a device's", StringComparison.Ordinal));
    }
}
