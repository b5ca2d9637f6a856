using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests;

/// <summary>A crash that is found after the death is the one that a guard would have seen at the death point.</summary>
public sealed class CrashFinderTests
{
    public static TheoryData<string, string?, ulong?, KernelShape> Crashes
    {
        get
        {
            var data = new TheoryData<string, string?, ulong?, KernelShape>();
            foreach (KernelShape shape in Enum.GetValues<KernelShape>())
            {
                data.Add("ct_int", "asm_exc_page_fault", null, shape);
                data.Add("ct_read", "asm_exc_page_fault", null, shape);
                data.Add("ct_call", "asm_exc_page_fault", 0, shape);
                data.Add("ct_bug", "asm_exc_invalid_op", null, shape);
                data.Add("ct_div", "asm_exc_divide_error", null, shape);
                data.Add("ct_panic", null, null, shape);
            }

            return data;
        }
    }

    [Theory]
    [MemberData(nameof(Crashes))]
    public void What_is_found_on_the_stack_is_what_was_seen_at_the_death_point(string function, string? entry, ulong? badCall, KernelShape shape)
    {
        using var g = new CrashedGuest(
            new CrashSpec { Function = function, Entry = entry, BadCall = badCall, PanicFormat = "sysrq triggered crash" },
            new SyntheticKernelOptions { Shape = shape }, then: (k, _) => k.Log("Kernel panic - not syncing: sysrq triggered crash"));
        AssertSame(g, Find(g, g.Crash.Vcpu));
    }

    /// <summary>kexec saves the registers of the oops: nothing on the stack shows that the CPU has died, but panic_cpu says so.</summary>
    [Fact]
    public void A_cpu_that_seems_to_stand_where_it_trapped()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" }, then: (k, _) => k.Write(k["panic_cpu"], BitConverter.GetBytes(0)));
        VcpuRegisters saved = g.Crash.Vcpu with { Gpr = g.Evidence.Crash.Gpr, Rip = g.Evidence.Crash.Ip, Rflags = g.Evidence.Crash.Flags };
        CrashEvidence found = Find(g, saved);
        AssertSame(g, found);
        Assert.Equal((g.Crash.RegsAddress, "asm_exc_page_fault"), (found.PtRegsAddress, found.TrapEntry));

        // A crash kernel's notes have no segment bases; whose they are has been found out by other means, or that CPU is not known to have died.
        VcpuRegisters noted = saved with { Known = RegisterGroups.Integer, Cpu = 0 };
        AssertSame(g, Find(g, noted));
        Assert.False(new CrashFinder(g.Image, new CrashCapture(g.Image, TargetLimits.Default)).TryFind(g.Guest.Memory, [noted with { Cpu = null, GsBase = 0 }], out _, out _));
    }

    [Fact]
    public void A_healthy_machine_has_not_died()
    {
        using var g = new CrashedGuest(new CrashSpec { Function = "ct_int" });
        VcpuRegisters healthy = g.Guest.Vcpu(0, g.Guest["vfs_write"], default);
        Assert.False(new CrashFinder(g.Image, new CrashCapture(g.Image, TargetLimits.Default)).TryFind(g.Guest.Memory, [healthy], out _, out string whyNot));
        Assert.Equal("no CPU's stack shows an oops or a panic", whyNot);
        Assert.False(new CrashFinder(g.Image, new CrashCapture(g.Image, TargetLimits.Default)).TryFind(g.Guest.Memory, [], out _, out whyNot));
        Assert.Equal("the registers of no CPU are known", whyNot);
    }

    private static CrashEvidence Find(CrashedGuest g, VcpuRegisters dead)
    {
        VcpuRegisters other = g.Guest.Vcpu(1, g.Guest["vfs_write"], default);
        Assert.True(new CrashFinder(g.Image, new CrashCapture(g.Image, TargetLimits.Default)).TryFind(g.Guest.Memory, [other, dead], out CrashEvidence found, out string whyNot), whyNot);
        return found;
    }

    private static void AssertSame(CrashedGuest g, CrashEvidence found)
    {
        Assert.True(found.IsPast);
        (CrashReport report, _) = new CrashReporter(TargetLimits.Default).Write(found);
        Assert.Equal(
            (g.Report.Title, g.Report.Bucket, g.Report.Kind, g.Report.Cause, g.Report.Context, g.Report.Location.Function, g.Report.Fault?.ToString()),
            (report.Title, report.Bucket, report.Kind, report.Cause, report.Context, report.Location.Function, report.Fault?.ToString()));
        Assert.Equal(g.Report.Task, report.Task);
    }
}
