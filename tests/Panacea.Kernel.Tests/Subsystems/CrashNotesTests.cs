using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

/// <summary>Whose the registers in a crash kernel's notes are.</summary>
public sealed class CrashNotesTests
{
    private static readonly SyntheticKernelOptions FourCpus = new() { Cpus = 4 };

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Each_cpu_s_own_buffer_tells_in_whatever_order_the_notes_are(KernelShape shape)
    {
        using var g = new KernelGuest(FourCpus with { Shape = shape });
        VcpuRegisters third = Registers(g, 0, 0x1000), first = Registers(g, 1, 0x2000, user: true);
        g.Guest.SaveForCrashKernel(3, third);
        g.Guest.SaveForCrashKernel(1, first);
        CrashNotes notes = CrashNotes.Read(g.Kernel, [third, first]);
        Assert.Equal([(3, 3), (1, 1)], notes.Vcpus.Select(v => (v.Vcpu, v.Cpu ?? -1)));
        Assert.Equal([3, 1], notes.Vcpus.Select(v => PerCpu.CpuOf(g.Kernel, v) ?? -1));

        // In kernel mode the GS base is the CPU's area; in user mode it is the process's.
        Assert.Equal([g.Guest.PerCpuBase(3), 0], notes.Vcpus.Select(v => v.GsBase));
    }

    [Fact]
    public void A_cpu_that_ran_and_saved_nothing_is_named_with_its_task()
    {
        using var g = new KernelGuest(FourCpus);
        VcpuRegisters dead = Registers(g, 0, 0x1000);
        g.Guest.SaveForCrashKernel(2, dead);
        CrashNotes notes = CrashNotes.Read(g.Kernel, [dead]);
        Assert.Equal(2, notes.Vcpus[0].Cpu);
        Assert.Contains(notes.Missing, m => m.StartsWith("CPU 0 saved no registers", StringComparison.Ordinal) && m.Contains($"PID {g.Guest.Victim.Pid} ", StringComparison.Ordinal));
        Assert.DoesNotContain(notes.Missing, m => m.StartsWith("CPU 2", StringComparison.Ordinal));
    }

    /// <summary>A dump that lacks the buffers, or a kernel that lacks the symbol: a kernel stack is one CPU's.</summary>
    [Fact]
    public void Without_buffers_the_stack_tells()
    {
        using var g = new KernelGuest(FourCpus);
        VcpuRegisters on1 = Registers(g, 0, g.Guest.Idle[1].StackTop - 0x100), on0 = Registers(g, 1, g.Guest.Victim.StackTop - 0x100);
        CrashNotes notes = CrashNotes.Read(g.Kernel, [on1, on0]);
        Assert.Equal([1, 0], notes.Vcpus.Select(v => v.Cpu ?? -1));
        CrashNotes nobody = CrashNotes.Read(g.Kernel, [on1, Registers(g, 1, 0x7fff_0000, user: true), Registers(g, 2, 0x1234)]);
        Assert.Equal([1, -1, -1], nobody.Vcpus.Select(v => v.Cpu ?? -1));
        Assert.Contains("of 2 CPUs", Assert.Single(nobody.Missing));
    }

    [Fact]
    public void What_a_hypervisor_tells_is_left_alone()
    {
        using var g = new KernelGuest(FourCpus);
        VcpuRegisters[] live = [g.Guest.Vcpu(1, 0x5000, default), g.Guest.Vcpu(0, 0x6000, default)];
        g.Guest.SaveForCrashKernel(3, live[0]);
        CrashNotes notes = CrashNotes.Read(g.Kernel, live);
        Assert.Same(live, notes.Vcpus);
        Assert.Empty(notes.Missing);
    }

    [Theory]
    [InlineData(ulong.MaxValue)]
    [InlineData(0x8000_0000_0000_0000)]
    [InlineData(1)]
    public void A_pointer_that_leads_nowhere_is_no_note(ulong pointer)
    {
        using var g = new KernelGuest(FourCpus);
        g.Guest.WriteU64(g.Guest["crash_notes"], pointer);
        CrashNotes notes = CrashNotes.Read(g.Kernel, [Registers(g, 0, 0x1000)]);
        Assert.Null(notes.Vcpus[0].Cpu);
        Assert.Single(notes.Missing);
    }

    private static VcpuRegisters Registers(KernelGuest g, int index, ulong sp, bool user = false)
    {
        GprFile gpr = default;
        gpr[Gpr.Rsp] = sp;
        gpr[Gpr.R12] = 0xabc0 + (ulong)index;
        return g.Guest.Vcpu(0, g.Guest["vfs_write"], gpr) with { Vcpu = index, Cs = (ushort)(user ? 0x33 : 0x10), GsBase = 0, Known = RegisterGroups.Integer };
    }
}
