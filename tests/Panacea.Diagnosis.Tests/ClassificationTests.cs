using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests;

public sealed class ClassificationTests
{
    private const ulong Wild = 0xffff_c900_1234_5678, User = 0x7f00_0000_1000;

    [Theory]
    [InlineData("asm_exc_page_fault", "ct_int", 0UL, CrashKind.NullWrite)]
    [InlineData("asm_exc_page_fault", "ct_int", 0x40UL, CrashKind.NullWrite)]
    [InlineData("asm_exc_page_fault", "ct_int", Wild, CrashKind.WildWrite)]
    [InlineData("asm_exc_page_fault", "ct_int", User, CrashKind.UserAccess)]
    [InlineData("asm_exc_page_fault", "ct_read", 0UL, CrashKind.NullRead)]
    [InlineData("asm_exc_page_fault", "ct_read", Wild, CrashKind.WildRead)]
    [InlineData("asm_exc_page_fault", "ct_read", User, CrashKind.UserAccess)]
    [InlineData("asm_exc_general_protection", "ct_int", 0xdead_0000_0000_0100UL, CrashKind.GeneralProtection)]
    [InlineData("asm_exc_general_protection", "ct_read", 0x4141_4141_4141_4141UL, CrashKind.GeneralProtection)]
    [InlineData("asm_exc_invalid_op", "ct_bug", 0UL, CrashKind.Bug)]
    [InlineData("asm_exc_invalid_op", "ct_int", 0UL, CrashKind.InvalidOpcode)]
    [InlineData("asm_exc_divide_error", "ct_div", 0UL, CrashKind.DivideError)]
    [InlineData("asm_exc_double_fault", "ct_int", 0UL, CrashKind.DoubleFault)]
    public void The_kind_follows_from_the_trap_and_the_instruction(string entry, string function, ulong rax, CrashKind kind)
    {
        foreach (KernelShape shape in Enum.GetValues<KernelShape>())
        {
            using var g = new CrashedGuest(CrashedGuest.Spec(function, rax, entry), new SyntheticKernelOptions { Shape = shape });
            Assert.Equal((kind, entry), (g.Evidence.Kind, g.Evidence.TrapEntry));
            Assert.Equal(kind, g.Report.Kind);
        }
    }

    [Theory]
    [InlineData(0UL, CrashKind.NullCall)]
    [InlineData(0x10UL, CrashKind.NullCall)]
    [InlineData(Wild, CrashKind.WildCall)]
    [InlineData(User, CrashKind.WildCall)]
    public void A_call_to_where_no_code_is_is_told_by_its_target(ulong target, CrashKind kind)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_call", BadCall = target });
        Assert.Equal(kind, g.Evidence.Kind);
        Assert.Equal(("execute", target), (g.Report.Fault?.Access, g.Report.Fault?.Address));
        Assert.Equal("ct_call", g.Report.Location.Function);
    }

    [Fact]
    public void A_write_to_a_page_that_is_mapped_read_only_is_told_as_such()
    {
        using var g = new CrashedGuest(CrashedGuest.Spec("ct_int"), then: (k, c) => k.WriteU64(c.RegsAddress + 80, k["vfs_write"]));
        Assert.Equal(CrashKind.ReadOnlyWrite, g.Evidence.Kind);
        Assert.Equal("write to read-only memory in ct_int", g.Report.Title);
    }

    [Fact]
    public void A_panic_is_a_panic()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" });
        Assert.Equal((CrashKind.Panic, "ct_panic", "Attempted to kill the %s!"), (g.Evidence.Kind, g.Report.Location.Function, g.Report.PanicMessage));
        Assert.Null(g.Report.Fault);
    }

    [Theory]
    [InlineData(0u, CrashContext.Process)]
    [InlineData(1u, CrashContext.Process)]
    [InlineData(0xffu, CrashContext.Process)]
    [InlineData(0x200u, CrashContext.Process)]
    [InlineData(0x100u, CrashContext.Softirq)]
    [InlineData(0x301u, CrashContext.Softirq)]
    [InlineData(0x1_0000u, CrashContext.Hardirq)]
    [InlineData(0x1_0100u, CrashContext.Hardirq)]
    [InlineData(0x10_0000u, CrashContext.Nmi)]
    [InlineData(0x11_0100u, CrashContext.Nmi)]
    public void The_context_follows_from_the_preempt_count(uint preempt, CrashContext context)
    {
        foreach (KernelShape shape in Enum.GetValues<KernelShape>())
        {
            using var g = new CrashedGuest(new CrashSpec { Preempt = preempt }, new SyntheticKernelOptions { Shape = shape });
            Assert.Equal((context, preempt & 0xff), (g.Report.Context, g.Evidence.PreemptCount));
        }
    }

    [Fact]
    public void Idle_and_kernel_threads_are_told_from_processes()
    {
        using var idle = new CrashedGuest(new CrashSpec(), task: k => k.Idle[0]);
        Assert.Equal(CrashContext.Idle, idle.Report.Context);
        using var kthread = new CrashedGuest(new CrashSpec { Bottom = "ret_from_fork", Chain = ["kthread", "ct_outer"] }, task: k => k.Kthread);
        Assert.Equal((CrashContext.KernelThread, "kworker/0:1", true), (kthread.Report.Context, kthread.Report.Task?.Comm, kthread.Report.Task?.IsKernelThread));
        Assert.Null(kthread.Report.Task?.CommandLine);
    }

    /// <summary>The handler's stack can't be unwound, so the entry is unknown: what can be told is told from the instruction.</summary>
    [Theory]
    [InlineData("ct_int", CrashKind.Unknown)]
    [InlineData("ct_bug", CrashKind.Bug)]
    [InlineData("ct_div", CrashKind.DivideError)]
    public void Without_its_entry_a_trap_is_told_from_the_instruction(string function, CrashKind kind)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = function }, new SyntheticKernelOptions { Orc = false });
        Assert.Null(g.Evidence.TrapEntry);
        if (kind != CrashKind.Unknown)
            Assert.Equal(kind, g.Evidence.Kind);
        Assert.True(g.Evidence.FaultyFrame is null or 0, "only the frame that trapped is proved");
    }

    [Theory]
    [InlineData("ct_int", new string[0], "ct_int")]
    [InlineData("ct_memcpy", new[] { "memcpy" }, "ct_memcpy")]
    public void A_generic_helper_does_what_it_is_told(string function, string[] inner, string blamed)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = function, Inner = inner });
        Assert.Equal(blamed, g.Report.Location.Function);
        Assert.Equal(inner.Length, g.Evidence.FaultyFrame);
    }

    [Fact]
    public void A_reporter_reports_for_its_caller()
    {
        using var g = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_stack_chk", Inner = ["__stack_chk_fail"] });
        Assert.Equal("ct_stack_chk", g.Report.Location.Function);
        using var v = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" }, new SyntheticKernelOptions { Vpanic = true });
        Assert.Equal("ct_panic", v.Report.Location.Function);
    }

    [Fact]
    public void Only_a_proved_frame_is_blamed()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_memcpy", Inner = ["memcpy"] }, new SyntheticKernelOptions { Orc = false });
        Assert.Null(g.Evidence.FaultyFrame);
        Assert.Equal("no frame of the stack could be proved to be the faulty function's", g.Evidence.WhyNoFaultyFrame);
        Assert.Contains(g.Report.Findings, f => f.Id == "stack.no-faulty-frame");
        Assert.Equal("memcpy", g.Report.Location.Function);
        Assert.Contains(g.Report.Stack, f => f.Location.Function == "ct_memcpy" && !f.Reliable);
    }

    [Fact]
    public void Registers_of_the_trap_that_cannot_be_read_are_no_evidence() =>
        Assert.Throws<CaptureException>(() => new CrashedGuest(new CrashSpec(), vcpu: v =>
        {
            GprFile gpr = v.Gpr;
            gpr[Gpr.Rsi] = 0x1000;
            return v with { Gpr = gpr };
        }));
}
