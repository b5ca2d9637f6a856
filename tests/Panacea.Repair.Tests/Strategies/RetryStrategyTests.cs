using System.Buffers.Binary;
using Panacea.Diagnosis;
using Panacea.Kernel.Unwind;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

public sealed partial class RetryStrategyTests
{
    /// <summary>Offsets in the memory that the functions read what they crash of from: a pointer, a word that they write, a number, a lock, and what the pointer leads to.</summary>
    private const ulong Pointer = 0, Word = 16, Number = 24, Lock = 64, Target = 128;

    /// <summary>RDI as of the crash, where the functions that do not change it still have their argument.</summary>
    private const ulong Kept = 0x77;

    /// <summary>What the chain's last caller has in RBX and passes on in RDI, and where its callee keeps it.</summary>
    private static readonly Dictionary<Gpr, ulong> Argument = new() { [Gpr.Rdi] = 0xb003, [Gpr.Rbx] = 0xb003 };

    [Fact]
    public void What_made_it_crash_is_gone_and_the_call_is_made_again()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target);
        RepairPlan plan = Again(g)!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);

        // As if its caller had just called it: the return address lies where it lay.
        Assert.Equal((g.Guest["ct_again"], g.Crash.ReturnSp - 8, g.Crash.CallerRbx), (next.Ip, next.Sp, next.Gpr[Gpr.Rbx]));
        Assert.Equal(g.Crash.ReturnAddress, g.Guest.ReadU64(next.Sp));
        Assert.Equal(g.Crash.CallerRbx, next.Gpr[Gpr.Rdi]);
        Assert.Equal((RepairKind.Retry, Confidence.High, 0, 0), (plan.Kind, plan.Confidence, plan.Lost.Count, plan.Continuations.Count));
        Assert.StartsWith("ct_again is called again, for ct_outer+", plan.Explanation, StringComparison.Ordinal);
    }

    [Fact]
    public void What_made_it_crash_is_still_there()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = 0);
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Null(verdict.Plan);
        Assert.Matches(@"^ct_again, called again over a copy of memory, reads 0x8 at ct_again\+0x\w+/0x\w+: what made it crash is still there$", verdict.WhyNot);
    }

    /// <summary>What the crashed call had stored must be there, whatever it is: else it would be done twice.</summary>
    [Theory]
    [InlineData("ct_again_marked", 7UL, true)]
    [InlineData("ct_again_marked", 6UL, false)]
    public void Nothing_is_done_twice(string function, ulong word, bool again)
    {
        using CrashedGuest g = Crashed(function, m => (m[Pointer], m[Word]) = (m.Base + Target, word));
        StrategyVerdict verdict = new RetryStrategy().Evaluate(g.Evidence);
        Assert.Equal(again, verdict.Plan is not null);
        if (!again)
            Assert.Matches($@"^{function} can't be called a second time: at {function}\+0x\w+/0x\w+ it writes to 0x{g.Evidence.Crash.Gpr[Gpr.R12] + Word:x} what is not there yet, and may have written there before it crashed$", verdict.WhyNot);
    }

    /// <summary>What it has counted is counted: it goes on behind that, and is not called again.</summary>
    [Fact]
    public void What_it_has_counted_is_not_counted_again()
    {
        using CrashedGuest g = Crashed("ct_again_counted", m => (m[Pointer], m[Word]) = (m.Base + Target, 3), wrong: Argument);
        Assert.Null(Again(g));
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Contains(" goes on with rax ", plan.Explanation, StringComparison.Ordinal);
        Assert.DoesNotContain(plan.Writes, w => w.Address.Value == g.Evidence.Crash.Gpr[Gpr.R12] + Word);
    }

    /// <summary>A lock that it holds is given back before it is called again; one that nobody could name is the one that it takes then.</summary>
    [Theory]
    [InlineData("ct_again_locked", 0UL, "High")]
    [InlineData("ct_again_unnamed", 0UL, "Medium")]
    public void Its_lock_is_given_back_first(string function, ulong number, string confidence)
    {
        using CrashedGuest g = Crashed(function, m => (m[Pointer], m[Lock], m[Number]) = (m.Base + Target, 1, number), preempt: 1);
        RepairPlan plan = Again(g)!;
        ulong held = g.Evidence.Crash.Gpr[Gpr.R13];
        Assert.Equal(confidence, plan.Confidence.ToString());
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["_raw_spin_unlock"], held, g.Crash.ReturnSp - 16), (next.Ip, next.Gpr[Gpr.Rdi], next.Sp));
        PlannedWrite slot = Assert.Single(plan.Writes, w => w.Why == "return address");
        Assert.Equal(g.Guest[function], BinaryPrimitives.ReadUInt64LittleEndian(slot.Bytes.Span));
        PlannedContinuation step = Assert.Single(plan.Continuations);
        Assert.Equal((g.Guest[function], g.Crash.ReturnSp - 8), (step.Address, step.StackPointer));
        Assert.Equal(function == "ct_again_unnamed", plan.Risks.Any(r => r.Contains("takes it, and somebody holds it", StringComparison.Ordinal)));
    }

    /// <summary>The lock that it takes when it is called again is free: which one it had taken before can't be told.</summary>
    [Fact]
    public void A_lock_that_cant_be_named_stays_a_reason_not_to()
    {
        using CrashedGuest g = Crashed("ct_again_unnamed", m => (m[Pointer], m[Number]) = (m.Base + Target, 1), preempt: 1);
        Assert.Null(Again(g));

        // Nor is what the whole call would have in its registers believed: it has gone another way.
        Assert.Contains("ct_again_unnamed, from its last call,", new RetryStrategy().Evaluate(g.Evidence).Plan!.Explanation, StringComparison.Ordinal);
    }

    /// <summary>One that it has taken on some ways only: on the way that it goes now it takes it, so it had it, or does not come by it, and nobody knows.</summary>
    [Theory]
    [InlineData(1UL, 1UL, true, true)]
    [InlineData(1UL, 0UL, true, false)]
    [InlineData(0UL, 1UL, false, false)]
    public void A_lock_that_it_may_hold_is_held_if_the_same_way_takes_it(ulong takes, ulong held, bool again, bool givesBack)
    {
        using CrashedGuest g = Crashed("ct_again_maybe", m => (m[Pointer], m[Lock], m[Number]) = (m.Base + Target, held, takes), preempt: (uint)held);
        RepairPlan? plan = Again(g);
        Assert.Equal(again, plan is not null);
        Assert.Equal(givesBack, plan?.Continuations.Count > 0);
    }

    /// <summary>Whoever began it further out ends it: the call is made again under it, as it was made under it.</summary>
    [Fact]
    public void A_journal_handle_that_is_open_stays_open()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target, prepare: (kernel, task) => kernel.Put(task.Address, "task_struct.journal_info", kernel.Allocate(64)));
        Assert.NotNull(Again(g));
    }

    /// <summary>It had taken its work off the list before it crashed: called again it finds none, and comes back at once.</summary>
    [Fact]
    public void Work_that_was_taken_already_is_not_lost_by_calling_again()
    {
        using CrashedGuest g = Crashed("ct_again_once", m => (m[Pointer], m[Word]) = (m.Base + Target, 0));
        Assert.Contains("comes back without coming by the place where it crashed, so that what it had to do may be lost", new RetryStrategy().Evaluate(g.Evidence).WhyNot, StringComparison.Ordinal);
    }

    /// <summary>A bug that stays is not met for ever.</summary>
    [Fact]
    public void Not_more_than_some_times_at_one_place()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target);
        Assert.NotNull(new RetryStrategy().Evaluate(g.Evidence with { EarlierRepairs = 7 }).Plan);
        Assert.Equal("the guest has come back to this place 8 times", new RetryStrategy().Evaluate(g.Evidence with { EarlierRepairs = 8 }).WhyNot);
    }

    /// <summary>It was to fill 16 bytes and has gone on until there was no more memory: it fills them once more, and not what comes after them.</summary>
    [Fact]
    public void A_block_is_filled_again_as_far_as_it_was_to_be()
    {
        ulong block = 0;
        using var g = new CrashedGuest(new CrashSpec
        {
            Function = "ct_again_filled",
            Inner = ["memset"],
            Prepare = (kernel, _) =>
            {
                ulong memory = kernel.Allocate(256);
                kernel.WriteU64(memory, block = memory + 64);
                kernel.WriteU64(block, 0x1234);
                return new Dictionary<Gpr, ulong> { [Gpr.R12] = memory, [Gpr.Rdi] = 0xdead_0000, [Gpr.Rdx] = 0x10_0000 };
            },
        });
        Assert.Equal("ct_again_filled", g.Evidence.LocationOf(g.Evidence.Faulty!)?.Name);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["memset"], block, 0UL, 16UL), (next.Ip, next.Gpr[Gpr.Rdi], next.Gpr[Gpr.Rsi], next.Gpr[Gpr.Rdx]));
        Assert.Equal(g.Guest["ct_again_filled:back:memset"], g.Guest.ReadU64(next.Sp));
    }

    /// <summary>Who waits for an interrupt has waited by the time that the crash is over: it goes on behind it.</summary>
    [Fact]
    public void What_waits_for_an_interrupt_goes_on_behind_it()
    {
        using CrashedGuest g = Crashed("ct_again_halted", m => m[Pointer] = m.Base + Target, entry: "asm_exc_invalid_op");
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Equal(g.Guest["ct_again_halted:woken"], plan.Continuations[^1].Registers.Single(r => r.Register == WritableRegister.Rip).Value);
        Assert.StartsWith("ct_again_halted+", plan.Explanation, StringComparison.Ordinal);
    }

    /// <summary>In an interrupt as elsewhere: the handler is called again, whatever register its dispatch point called it through.</summary>
    [Fact]
    public void A_handler_is_called_again_for_its_dispatch_point()
    {
        using CrashedGuest g = Crashed("ct_again_bare", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);
        RepairPlan plan = Again(g)!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_again_bare"], g.Crash.ReturnSp - 8, false), (next.Ip, next.Sp, next.InterruptsEnabled));
    }

    /// <summary>It has turned interrupts off, and nobody on the stack says what they were before: in an interrupt they were off.</summary>
    [Theory]
    [InlineData(0x1_0000u, true)]
    [InlineData(0u, false)]
    public void In_an_interrupt_interrupts_were_off(uint preempt, bool isKnown)
    {
        using CrashedGuest g = Crashed("ct_again_off", m => m[Pointer] = m.Base + Target, preempt: preempt, chain: ["ct_outer"], flags: 0x1_0046);
        Assert.Equal(isKnown, Again(g) is not null);
        if (isKnown)
            Assert.False(PtRegs.Read(Again(g)!.Writes[^1].Bytes.Span).InterruptsEnabled);
    }

    /// <summary>An argument that the code of the call does not tell is where the function has kept it; one that it has not kept nobody guesses.</summary>
    [Fact]
    public void An_argument_is_where_it_was_kept_or_is_not_known()
    {
        using CrashedGuest kept = Crashed("ct_again", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);
        Assert.Equal(Kept, PtRegs.Read(Again(kept)!.Writes[^1].Bytes.Span).Gpr[Gpr.Rdi]);
        using CrashedGuest signed = Crashed("ct_again_signed", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);
        Assert.Equal(Kept, PtRegs.Read(Again(signed)!.Writes[^1].Bytes.Span).Gpr[Gpr.Rdi]);
        using CrashedGuest lost = Crashed("ct_again_lost", m => m[Pointer] = m.Base + Target, preempt: 0x1_0000, chain: ["do_syscall_64", "__handle_irq_event_percpu"]);

        // It can't be called again; it goes on with what it has.
        Assert.Null(Again(lost));
        StrategyVerdict on = new RetryStrategy().Evaluate(lost.Evidence);
        Assert.Contains(on.Tried, t => t.Contains("needs rdi, which the code of the call does not tell", StringComparison.Ordinal));
        Assert.Equal(lost.Evidence.Crash.Gpr[Gpr.Rdi], PtRegs.Read(on.Plan!.Writes[^1].Bytes.Span).Gpr[Gpr.Rdi]);
    }

    /// <summary>A mistake has left a wrong pointer in a register, and memory has the right one: the function goes on where it stands, with what it should have had.</summary>
    [Theory]
    [InlineData("ct_again", 0u)]
    [InlineData("ct_again_marked", 0u)]
    [InlineData("ct_again_locked", 1u)]
    public void It_goes_on_with_the_register_that_it_should_have_had(string function, uint preempt)
    {
        using CrashedGuest g = Crashed(function, m => (m[Pointer], m[Word], m[Lock]) = (m.Base + Target, 7, preempt), preempt, wrong: Argument);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        ulong right = g.Evidence.Crash.Gpr[Gpr.R12] + Target;
        Assert.Equal((g.Evidence.Crash.Ip, g.Crash.FaultSp, right, g.Evidence.Crash.Gpr[Gpr.Rbx]), (next.Ip, next.Sp, next.Gpr[Gpr.Rax], next.Gpr[Gpr.Rbx]));
        Assert.Matches($@"^{function}\+0x\w+/0x\w+ goes on with rax 0x{right:x} instead of 0x0: over a copy of memory {function}, from its entry, comes by so \(\d+ instructions\)$", plan.Explanation);

        // Its lock stays its own.
        Assert.Equal((RepairKind.Retry, Confidence.High, 0, 0), (plan.Kind, plan.Confidence, plan.Lost.Count, plan.Continuations.Count));
        Assert.DoesNotContain(plan.Writes, w => w.Why == "return address");
    }

    /// <summary>What it has kept on its stack was wrong, too.</summary>
    [Fact]
    public void Its_stack_is_put_right()
    {
        using CrashedGuest g = Crashed("ct_again_local", m => m[Pointer] = m.Base + Target);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        Span<byte> slot = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(slot, g.Guest.ReadU64(g.Crash.FaultSp));
        foreach (PlannedWrite write in plan.Writes.Where(w => w.Why == "stack as the code leaves it"))
            write.Bytes.Span.CopyTo(slot[(int)(write.Address.Value - g.Crash.FaultSp)..]);
        Assert.Equal(g.Evidence.Crash.Gpr[Gpr.R12] + Target, BinaryPrimitives.ReadUInt64LittleEndian(slot));
        Assert.NotEqual(g.Guest.ReadU64(g.Crash.FaultSp), BinaryPrimitives.ReadUInt64LittleEndian(slot));
    }

    /// <summary>The branch to a BUG() would not be taken now: it goes on behind it.</summary>
    [Fact]
    public void A_BUG_whose_condition_has_passed_is_gone_by()
    {
        using CrashedGuest g = Crashed("ct_again_bug", m => m[Pointer] = m.Base + Target, entry: "asm_exc_invalid_op");
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PlannedContinuation last = plan.Continuations[^1];
        Dictionary<WritableRegister, ulong> set = last.Registers.ToDictionary(r => r.Register, r => r.Value);
        Assert.Equal((g.Guest["ct_again_bug:whole"], g.Evidence.Crash.Gpr[Gpr.R12] + Target), (set[WritableRegister.Rip], set[WritableRegister.Rax]));
        using CrashedGuest still = Crashed("ct_again_bug", m => m[Pointer] = 0, entry: "asm_exc_invalid_op");
        Assert.Null(new RetryStrategy().Evaluate(still.Evidence).Plan);
    }

    /// <summary>A callee has not given back the register in which the function keeps an argument: it goes on with what its caller has passed. What the callee did can't be told.</summary>
    [Theory]
    [InlineData("ct_again_kept", "ct_kept", "", Gpr.Rbx)]
    [InlineData("ct_again_passes", "ct_passes", "ct_uses", Gpr.Rdi)]
    public void An_argument_that_was_kept_is_put_right(string outer, string keeps, string inner, Gpr register)
    {
        ulong start = 0;
        using CrashedGuest g = new(new CrashSpec
        {
            Function = outer,
            Inner = inner.Length == 0 ? [keeps] : [keeps, inner],
            Prepare = (kernel, _) => new Dictionary<Gpr, ulong> { [Gpr.R12] = start = kernel.Allocate(256), [register] = 0 },
        });
        RepairPlan? plan = new RetryStrategy().Evaluate(g.Evidence).Plan;
        Assert.True(plan is not null, $"{new RetryStrategy().Evaluate(g.Evidence).WhyNot}; {string.Join("; ", new RetryStrategy().Evaluate(g.Evidence).Tried)}");
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Evidence.Crash.Ip, g.Crash.FaultSp, start), (next.Ip, next.Sp, next.Gpr[register]));
        Assert.Contains($"{register.ToString().ToLowerInvariant()} 0x{start:x} instead of 0x0", plan.Explanation, StringComparison.Ordinal);
        Assert.Contains("from its last call", plan.Explanation, StringComparison.Ordinal);
    }

    /// <summary>What a call returned nobody knows, and which way a branch on it went only the place of the crash says: what was done behind the branch is enough.</summary>
    [Fact]
    public void What_depends_on_a_result_is_not_done_again()
    {
        using CrashedGuest g = Crashed("ct_again_result", m => m[Pointer] = m.Base + Target);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Evidence.Crash.Ip, g.Evidence.Crash.Gpr[Gpr.R12] + Target), (next.Ip, next.Gpr[Gpr.Rax]));
        Assert.Contains("from its last call", plan.Explanation, StringComparison.Ordinal);
    }

    /// <summary>What was looked at before is told, each once, and not what is told anyway.</summary>
    [Fact]
    public void What_was_tried_is_told()
    {
        using CrashedGuest still = Crashed("ct_again_bug", m => m[Pointer] = 0, entry: "asm_exc_invalid_op");
        StrategyVerdict verdict = new RetryStrategy().Evaluate(still.Evidence);
        Assert.NotEmpty(verdict.Tried);
        Assert.Equal(verdict.Tried.Count, verdict.Tried.Distinct().Count());
        Assert.DoesNotContain(verdict.WhyNot, verdict.Tried);
        Assert.Contains("the crash is no use of a NULL pointer", verdict.Tried);
    }

    /// <summary>It had called what is no code: the pointer leads to a function now.</summary>
    [Fact]
    public void A_call_that_led_nowhere_is_made_where_it_leads()
    {
        const ulong nowhere = 0xffff_8880_0200_0000;
        ulong function = 0;
        using CrashedGuest g = Crashed("ct_again_call", m => m[Pointer] = function, badCall: nowhere, prepare: (kernel, _) => function = kernel["mutex_unlock"]);
        Assert.Null(new RetryStrategy().Evaluate(g.Evidence).WhyNot);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_again_call:call"], g.Guest["mutex_unlock"], g.Evidence.Crash.Sp + 8), (next.Ip, next.Gpr[Gpr.Rax], next.Sp));
        using CrashedGuest still = Crashed("ct_again_call", m => m[Pointer] = nowhere, badCall: nowhere);
        Assert.Null(new RetryStrategy().Evaluate(still.Evidence).Plan);
    }

    /// <summary>A flipped bit has made another instruction of one, and the CPU went on in bytes that are none: behind a return, or within an instruction. It goes on where it has left the code.</summary>
    [Theory]
    [InlineData("ct_again_left", "asm_exc_int3")]
    [InlineData("ct_again_within", "asm_exc_page_fault")]
    public void A_CPU_that_has_left_the_code_goes_on_where_it_did(string function, string entry)
    {
        using CrashedGuest g = Crashed(function, m => m[Pointer] = m.Base + Target, entry: entry);
        RepairPlan? plan = Ladder.Choose(g.Evidence, (_, _) => null, out IReadOnlyList<LadderVerdict> verdicts);
        Assert.True(plan is not null, string.Join("; ", verdicts.Select(v => v.Verdict.WhyNot)));
        Assert.Equal((RepairKind.Retry, Confidence.Low), (plan.Kind, plan.Confidence));
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest[$"{function}:left"], g.Evidence.Crash.Sp, g.Evidence.Crash.Gpr[Gpr.R12] + Target), (next.Ip, next.Sp, next.Gpr[Gpr.Rax]));
        Assert.Contains(plan.Risks, r => r.Contains($"at {function}+", StringComparison.Ordinal) && r.EndsWith("what it did there can't be told", StringComparison.Ordinal));
    }

    /// <summary>It was the saving of a register that was read as another instruction: the stack is a word shorter than where the CPU has trapped the code would have it.</summary>
    [Fact]
    public void A_CPU_that_has_left_the_code_at_a_push_goes_on_there()
    {
        using CrashedGuest g = Crashed("ct_again_pushed", m => m[Pointer] = m.Base + Target);
        ulong sp = g.Crash.FaultSp + 8;
        g.Guest.WriteU64(g.Crash.RegsAddress + 152, sp);
        CrashEvidence evidence = new CrashCapture(g.Image, TargetLimits.Default).Capture(g.Guest.Memory, g.Crash.Vcpu, g.Point);
        Assert.Null(evidence.LocationOf(evidence.Stack.Frames[1]));
        RepairPlan? plan = Ladder.Choose(evidence, (_, _) => null, out IReadOnlyList<LadderVerdict> verdicts);
        Assert.True(plan is not null, string.Join("; ", verdicts.Select(v => v.Verdict.WhyNot)));
        Assert.Equal((RepairKind.Retry, Confidence.Low), (plan.Kind, plan.Confidence));
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_again_pushed:left"], sp), (next.Ip, next.Sp));
        Assert.Contains(plan.Risks, r => r.EndsWith("what it did there can't be told", StringComparison.Ordinal));
    }

    /// <summary>What a call returned was NULL, as an allocation's that has failed, and is something now: the call is made once more, whatever the function had done before it.</summary>
    [Fact]
    public void A_call_that_returned_NULL_is_made_once_more()
    {
        using CrashedGuest g = Crashed("ct_again_null", m => m[Pointer] = m.Base + Target);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["ct_again_null:again"] - 3, g.Crash.FaultSp, g.Evidence.Crash.Gpr[Gpr.R12]), (next.Ip, next.Sp, next.Gpr[Gpr.R12]));
        Assert.Matches(@"^ct_get, which had returned NULL to ct_again_null\+0x\w+/0x\w+, is called once more: over a copy of memory ct_again_null gets past the crash \(\d+ instructions\)$", plan.Explanation);

        // It would return NULL again; or its result has been kept where others may have seen it.
        using CrashedGuest still = Crashed("ct_again_null", m => m[Pointer] = 0);
        Assert.Null(new RetryStrategy().Evaluate(still.Evidence).Plan);
        using CrashedGuest stored = Crashed("ct_again_null_stored", m => m[Pointer] = m.Base + Target);
        Assert.DoesNotContain("once more", new RetryStrategy().Evaluate(stored.Evidence).Plan?.Explanation ?? "", StringComparison.Ordinal);
    }

    /// <summary>The lock's address was wrong: the kernel's own function, which a replay does not execute elsewhere, goes on with the right one.</summary>
    [Fact]
    public void A_function_that_takes_a_lock_goes_on_like_any_other()
    {
        using CrashedGuest g = new(new CrashSpec
        {
            Function = "ct_again_lock",
            Inner = ["_raw_spin_lock_irq"],
            Prepare = (kernel, _) =>
            {
                ulong start = kernel.Allocate(256);
                kernel.WriteU64(start, start + Lock);
                return new Dictionary<Gpr, ulong>(Argument) { [Gpr.R12] = start, [Gpr.Rdx] = 1, [Gpr.Rdi] = 0x30 };
            },
        });
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["_raw_spin_lock_irq:fault"], g.Evidence.Crash.Gpr[Gpr.R12] + Lock), (next.Ip, next.Gpr[Gpr.Rdi]));
    }

    /// <summary>What a loop of string instructions moves has a bound of its own: the guest stands still meanwhile.</summary>
    [Fact]
    public void Moving_memory_takes_its_time_too()
    {
        using CrashedGuest g = Crashed("ct_again_moving", m => m[Pointer] = m.Base + Target);
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Equal(Confidence.Medium, plan.Confidence);
        Assert.Contains("the replay ends behind the place of the crash, where it has moved more memory than a replay does", plan.Risks);
    }

    /// <summary>A copy that was too long, in the variant of memcpy() that the one that was called has gone on to by a jump: it is made again with the right length.</summary>
    [Fact]
    public void A_call_that_went_on_by_a_jump_is_followed()
    {
        using CrashedGuest g = new(new CrashSpec
        {
            Function = "ct_again_copy",
            Inner = ["memcpy_erms"],
            Prepare = (kernel, _) =>
            {
                ulong start = kernel.Allocate(256);
                kernel.WriteU64(start + Number, 8);
                return new Dictionary<Gpr, ulong>(Argument) { [Gpr.R12] = start, [Gpr.Rdi] = 0xffff_c900_0000_0000, [Gpr.Rsi] = start + 0x200, [Gpr.Rdx] = 0x4001, [Gpr.Rcx] = 0x3f00 };
            },
        });
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((g.Guest["memcpy_erms:fault"], g.Evidence.Crash.Gpr[Gpr.R12], 8UL), (next.Ip, next.Gpr[Gpr.Rdi], next.Gpr[Gpr.Rcx]));
    }

    /// <summary>It comes by the place three times: what the loop counts says in which it has crashed. Where nothing does, what it has done since its last call is enough.</summary>
    [Theory]
    [InlineData(2UL, "from its entry")]
    [InlineData(9UL, "from its last call")]
    public void Of_a_loop_it_is_the_time_that_fits(ulong counter, string how)
    {
        using CrashedGuest g = Crashed("ct_again_loop", m => m[Pointer] = m.Base + Target, wrong: new Dictionary<Gpr, ulong>(Argument) { [Gpr.Rsi] = counter });
        RepairPlan plan = new RetryStrategy().Evaluate(g.Evidence).Plan!;
        Assert.Contains($"over a copy of memory ct_again_loop, {how}, comes by so", plan.Explanation, StringComparison.Ordinal);
        PtRegs next = PtRegs.Read(plan.Writes[^1].Bytes.Span);
        Assert.Equal((counter, g.Evidence.Crash.Gpr[Gpr.R12] + Target), (next.Gpr[Gpr.Rsi], next.Gpr[Gpr.Rax]));
    }

    /// <summary>The rung stands behind those that put something right, and before those that lose something.</summary>
    [Fact]
    public void It_is_asked_before_anything_is_given_up()
    {
        using CrashedGuest g = Crashed("ct_again", m => m[Pointer] = m.Base + Target);
        Assert.Equal(RepairKind.Retry, Ladder.Choose(g.Evidence, (_, _) => null, out _)?.Kind);
    }

    /// <summary>The plan that makes the call again, whatever else there is.</summary>
    private static RepairPlan? Again(CrashedGuest g)
    {
        var strategy = new RetryStrategy();
        return ((IEnumerable<StrategyVerdict>)[strategy.Evaluate(g.Evidence), .. strategy.Alternatives(g.Evidence)]).Select(v => v.Plan).FirstOrDefault(p => p?.Explanation.Contains(" is called again, for ", StringComparison.Ordinal) == true);
    }

    private static CrashedGuest Crashed(string function, Action<Memory> fill, uint preempt = 0, string[]? chain = null, Action<SyntheticKernel, SyntheticTask>? prepare = null, string entry = "asm_exc_page_fault", ulong? badCall = null, IReadOnlyDictionary<Gpr, ulong>? wrong = null, ulong flags = 0x1_0246, string bottom = "entry_SYSCALL_64") => new(new CrashSpec
    {
        Bottom = bottom,
        Flags = flags,
        Function = function,
        Entry = entry,
        BadCall = badCall,
        Preempt = preempt,
        Chain = chain ?? new CrashSpec().Chain,
        Prepare = (kernel, task) =>
        {
            prepare?.Invoke(kernel, task);
            var memory = new Memory(kernel, kernel.Allocate(256));
            fill(memory);
            var registers = new Dictionary<Gpr, ulong> { [Gpr.Rax] = 0, [Gpr.R12] = memory.Base, [Gpr.R13] = memory.Base + Lock, [Gpr.Rdi] = Kept };
            foreach ((Gpr register, ulong value) in wrong ?? new Dictionary<Gpr, ulong>())
                registers[register] = value;
            return registers;
        },
    });

    private sealed class Memory(SyntheticKernel kernel, ulong start)
    {
        public ulong Base => start;

        public ulong this[ulong offset]
        {
            set => kernel.WriteU64(start + offset, value);
        }
    }
}
