using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests;

public sealed class ReportTests
{
    public static TheoryData<string, string, string> Golden => new()
    {
        { "null write", "NULL write in ct_int", "ct_int wrote to NULL (0x0), called from ct_outer" },
        { "null read", "NULL read in ct_read", "ct_read read from NULL + 0x8 (0x8), called from ct_outer" },
        { "wild write", "write through a wild pointer in ct_int", "ct_int wrote to 0xffffc90012345678, called from ct_outer" },
        { "user read", "forbidden access to user memory in ct_read", "ct_read touched user memory at user-space address (0x7f0000001008) in a way that is not permitted, called from ct_outer" },
        { "null call", "call of a NULL pointer in ct_call", "ct_call called a function at 0x0, where there is none, called from ct_outer" },
        { "wild call", "call of a wild pointer in ct_call", "ct_call called a function at 0xffffc90012345678, where there is none, called from ct_outer" },
        { "bug", "kernel BUG in ct_bug", "ct_bug ran into BUG(), called from ct_outer" },
        { "divide", "divide error in ct_div", "ct_div divided by zero or the quotient was too large, called from ct_outer" },
        { "panic", "panic in ct_panic: Attempted to kill the …!", "ct_panic called panic(\"Attempted to kill the %s!\"), called from ct_outer" },
        { "suffix", "NULL write in ct_branchy", "ct_branchy wrote to NULL (0x0), called from ct_outer" },
    };

    [Theory]
    [MemberData(nameof(Golden))]
    public void Titles_and_causes_are_sentences(string crash, string title, string cause)
    {
        using var g = new CrashedGuest(Spec(crash));
        Assert.Equal((title, cause), (g.Report.Title, g.Report.Cause));
    }

    /// <summary>ERR_PTR(-ENOMEM) is a call target at the very end of the address space; behind it addresses begin again.</summary>
    [Theory]
    [InlineData(ulong.MaxValue - 11)]
    [InlineData(ulong.MaxValue)]
    public void A_call_of_an_error_pointer_is_reported(ulong target)
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_call", BadCall = target });
        Assert.Contains("ct_call", g.Report.Title);
        Assert.Contains($"0x{target:x}", g.Report.Cause);
    }

    /// <summary>A frame at address 0 has no instruction before it.</summary>
    [Fact]
    public void Registers_that_lead_nowhere_end_in_a_report()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, vcpu: v => v with { Rip = 0 });
        Assert.NotEmpty(g.Report.Title);
    }

    [Theory]
    [InlineData(KernelShape.Linux61)]
    [InlineData(KernelShape.Linux612)]
    public void A_report_holds_what_a_person_asks_for(KernelShape shape)
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Shape = shape }, then: (k, _) => k.Log("BUG: kernel NULL pointer dereference", 7_000_000_000));
        CrashReport r = g.Report;
        Assert.Empty(r.Unavailable);
        Assert.Equal(new ReportTask(g.Guest.Victim.Address, 321, 321, "victim", "/usr/bin/victim --port 80", false), r.Task);
        Assert.Equal((0, g.Guest.Release, Convert.ToHexStringLower(g.Guest.BuildId), "O"), (r.Vcpu, r.KernelRelease, r.BuildId, r.Taint));
        Assert.Equal(["ct_int", "ct_outer", "vfs_write", "ksys_write", "do_syscall_64", "entry_SYSCALL_64"], r.Stack.Select(f => f.Location.Function));
        Assert.All(r.Stack, f => Assert.Equal((true, "task"), (f.Reliable, f.Stack)));
        Assert.True(r.Stack[0].IsTrap);
        Assert.Equal((g.Guest["ct_int:fault"], g.Crash.FaultSp, 0UL), (r.Registers["rip"], r.Registers["rsp"], r.Registers["rax"]));
        Assert.Equal(("write", 0UL, "NULL", "%rax = 0x0"), (r.Fault!.Access, r.Fault.Address, r.Fault.Explanation, r.Fault.BadOperand));
        Assert.Contains("mov", r.Fault.Instruction);
        Assert.NotEmpty(r.Disassembly);
        Assert.Equal("BUG: kernel NULL pointer dereference", g.Console[^1].Text);
        Assert.Equal(7_000_000_000UL, g.Console[^1].TimestampNs);
    }

    [Fact]
    public void What_was_noticed_is_a_finding()
    {
        using var quiet = new CrashedGuest(new CrashSpec());
        Assert.Empty(quiet.Report.Findings);
        using var g = new CrashedGuest(new CrashSpec { Preempt = 2, Flags = 0x10046 }, then: (k, _) => k.Write(k["ct_int:fault"] + 6, 0x90));
        Assert.Equal(["context.atomic", "context.irqs-off", "text.changed"], g.Report.Findings.Select(f => f.Id));
        Assert.Equal("preempt_count & 0xff = 2", Assert.Single(g.Report.Findings[0].Evidence));
    }

    [Theory]
    [InlineData("tainted_mask", "taint:")]
    [InlineData("prb", "kernel log:")]
    public void What_the_kernel_lacks_is_named(string symbol, string unavailable)
    {
        using var g = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Without = new HashSet<string> { symbol } });
        Assert.StartsWith(unavailable, Assert.Single(g.Report.Unavailable));
        Assert.Contains(symbol, g.Report.Unavailable[0]);
        Assert.Equal("NULL write in ct_int", g.Report.Title);
    }

    [Fact]
    public void A_vcpu_whose_per_cpu_area_is_unknown_has_no_task_and_says_so()
    {
        using var g = new CrashedGuest(new CrashSpec(), vcpu: v => v with { GsBase = 0x1234 });
        Assert.Equal((CrashContext.Unknown, null), (g.Report.Context, g.Report.Task));
        Assert.Contains("preempt count: the vCPU's per-CPU area is not known", g.Report.Unavailable);
        Assert.Contains("current task: the vCPU's per-CPU area is not known", g.Report.Unavailable);
    }

    [Fact]
    public void A_task_that_cannot_be_read_is_named_with_its_address()
    {
        using var g = new CrashedGuest(new CrashSpec(), then: (k, _) => k.WriteU64(k.PerCpu("current_task", 0), 0xffff_c900_0000_0000));
        Assert.Null(g.Report.Task);
        Assert.Contains(g.Report.Unavailable, u => u.StartsWith("current task:", StringComparison.Ordinal) && u.Contains("0xffffc9000000"));
    }

    [Fact]
    public void An_unreadable_command_line_and_panic_message_cost_nothing_else()
    {
        using var g = new CrashedGuest(new CrashSpec(), then: (k, _) => k.Put(k.Get(k.Victim.Address, "task_struct.mm"), "mm_struct.arg_start", 0x10));
        Assert.Null(g.Report.Task!.CommandLine);
        Assert.StartsWith("command line:", Assert.Single(g.Report.Unavailable));
        using var p = new CrashedGuest(new CrashSpec { Entry = null, Function = "ct_panic" }, vcpu: v =>
        {
            GprFile gpr = v.Gpr;
            gpr[Gpr.Rdi] = 0x10;
            return v with { Gpr = gpr };
        });
        Assert.Equal(("panic in ct_panic", "ct_panic called panic(), called from ct_outer"), (p.Report.Title, p.Report.Cause));
    }

    [Fact]
    public void A_stack_that_ends_early_says_where()
    {
        using var g = new CrashedGuest(new CrashSpec(), then: (k, c) => k.WriteU64(c.ReturnSp - 8, 0x1234));
        Assert.StartsWith("the stack past frame", Assert.Single(g.Report.Unavailable));
    }

    [Fact]
    public void A_bucket_is_the_same_across_boots_and_kernels_and_compilers_suffixes()
    {
        using var one = new CrashedGuest(new CrashSpec());
        using var moved = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Kaslr = 0x2a00_0000 });
        using var newer = new CrashedGuest(new CrashSpec(), new SyntheticKernelOptions { Shape = KernelShape.Linux612, Mode = Panacea.Target.Paging.PagingMode.FiveLevel });
        using var at = new CrashedGuest(CrashedGuest.Spec("ct_int", 0x18));
        Assert.Matches("^[0-9a-f]{16}$", one.Report.Bucket);
        Assert.Equal([one.Report.Bucket, one.Report.Bucket, one.Report.Bucket], [moved.Report.Bucket, newer.Report.Bucket, at.Report.Bucket]);
        CodeLocation Location(string name) => new(0x1000, name, 4, 0x20, null);
        Assert.Equal(Buckets.Of(CrashKind.Bug, Location("f"), []), Buckets.Of(CrashKind.Bug, Location("f.isra.0") with { Offset = 9, Size = 0x30 }, []));
    }

    [Fact]
    public void Different_bugs_have_different_buckets()
    {
        string[] crashes = ["null write", "null read", "wild write", "null call", "bug", "divide", "panic", "suffix"];
        var buckets = new HashSet<string>();
        foreach (string crash in crashes)
        {
            using var g = new CrashedGuest(Spec(crash));
            Assert.True(buckets.Add(g.Report.Bucket), crash);
        }

        CodeLocation f = new(0x1000, "f", 4, 0x20, null);
        ReportFrame Frame(string name, bool reliable = true) => new(new CodeLocation(0x2000, name, 0, 0, null), 0, reliable, false, "task");
        ReportFrame self = new(f, 0, true, true, "task");
        string plain = Buckets.Of(CrashKind.Bug, f, [self, Frame("a"), Frame("b")]);
        Assert.NotEqual(plain, Buckets.Of(CrashKind.NullRead, f, [self, Frame("a"), Frame("b")]));
        Assert.NotEqual(plain, Buckets.Of(CrashKind.Bug, f with { Module = "m" }, [self, Frame("a"), Frame("b")]));
        Assert.NotEqual(plain, Buckets.Of(CrashKind.Bug, f, [self, Frame("x"), Frame("b")]));

        // The third caller, and frames that were only guessed, say nothing of the bug.
        Assert.Equal(plain, Buckets.Of(CrashKind.Bug, f, [self, Frame("a"), Frame("b"), Frame("c")]));
        Assert.Equal(plain, Buckets.Of(CrashKind.Bug, f, [self, Frame("guess", reliable: false), Frame("a"), Frame("b")]));
    }

    [Theory]
    [InlineData("f", "f")]
    [InlineData("f.isra.0", "f")]
    [InlineData("f.constprop.0.isra.0", "f")]
    [InlineData("f.part.0.cold", "f")]
    [InlineData(".hidden", ".hidden")]
    [InlineData(null, "?")]
    public void Compilers_suffixes_are_no_part_of_a_name(string? name, string plain) => Assert.Equal(plain, Buckets.Plain(name));

    [Theory]
    [InlineData(0UL, "none")]
    [InlineData(1UL, "P")]
    [InlineData(1UL << 7 | 1UL << 12 | 1UL << 13, "DOE")]
    [InlineData(0x7ffffUL, "PFSRMBUDAWCIOELKXTN")]
    [InlineData(ulong.MaxValue, "PFSRMBUDAWCIOELKXTN")]
    [InlineData(1UL << 63, "none")]
    public void Taint_has_the_kernels_letters(ulong mask, string letters) => Assert.Equal(letters, Taints.Letters(mask));

    private static CrashSpec Spec(string crash) => crash switch
    {
        "null write" => CrashedGuest.Spec("ct_int"),
        "null read" => CrashedGuest.Spec("ct_read"),
        "wild write" => CrashedGuest.Spec("ct_int", 0xffff_c900_1234_5678),
        "user read" => CrashedGuest.Spec("ct_read", 0x7f00_0000_1000),
        "null call" => new CrashSpec { Function = "ct_call", BadCall = 0 },
        "wild call" => new CrashSpec { Function = "ct_call", BadCall = 0xffff_c900_1234_5678 },
        "bug" => CrashedGuest.Spec("ct_bug", entry: "asm_exc_invalid_op"),
        "divide" => CrashedGuest.Spec("ct_div", entry: "asm_exc_divide_error"),
        "panic" => new CrashSpec { Entry = null, Function = "ct_panic" },
        _ => CrashedGuest.Spec("ct_branchy.isra.0"),
    };
}
