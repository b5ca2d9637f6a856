using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class FusesTests
{
    private static KernelGuest Guest(KernelShape shape = KernelShape.Linux61) => new(
        new SyntheticKernelOptions { Shape = shape },
        k => k.AddModule("drv", t => t.Add("drv_open", Traceable).Add("drv_read", Traceable).Add("drv_quick", w => { w.Depth(8); w.A.ret(); })));

    private static void Traceable(FunctionWriter w)
    {
        w.Depth(8);
        w.A.db(0xf3, 0x0f, 0x1e, 0xfa, 0x0f, 0x1f, 0x44, 0x00, 0x00);
        w.A.ret();
    }

    private static ulong Set(KernelGuest g, string function, int value)
    {
        ulong room = Fuses.FindRoom(g.Kernel, value), jump = g.Guest.Modules[0].Text[function] + 4;
        g.Guest.Write(room, FuseCode.Stub(value));
        Assert.True(FuseCode.TryJump(jump, room, out byte[] code));
        g.Guest.Write(jump, code);
        return room;
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Fuses_are_found_where_they_are(KernelShape shape)
    {
        using KernelGuest g = Guest(shape);
        var missing = new List<string>();
        Assert.Empty(Fuses.Enumerate(g.Kernel, missing));
        ulong first = Set(g, "drv_open", -5), second = Set(g, "drv_read", 0);
        Assert.NotEqual(first, second);
        ulong open = g.Guest.Modules[0].Text["drv_open"], read = g.Guest.Modules[0].Text["drv_read"];
        Assert.Equal([new Fuse("drv_open", "drv", open, open + 4, first, -5), new Fuse("drv_read", "drv", read, read + 4, second, 0)], Fuses.Enumerate(g.Kernel, missing));
        Assert.Empty(missing);
        Assert.Equal("drv_read [drv]", Fuses.Of(g.Kernel, read)!.Name);
        Assert.Null(Fuses.Of(g.Kernel, g.Guest.Modules[0].Text["drv_quick"]));
        Assert.Null(Fuses.Of(g.Kernel, read + 1));

        // What is there already is used again.
        Assert.Equal((first, second), (Fuses.FindRoom(g.Kernel, -5), Fuses.FindRoom(g.Kernel, 0)));
        Assert.NotEqual(first, Fuses.FindRoom(g.Kernel, 1));
    }

    /// <summary>A guard that comes later takes the text as it is for the pristine one.</summary>
    [Fact]
    public void A_fuse_that_is_older_than_the_image_is_found()
    {
        using KernelGuest g = Guest();
        ulong room = Set(g, "drv_open", -12);
        using var cache = new TemporaryDirectory();
        using RepairImage later = KernelGuest.Build(g.Guest, cache.Path);
        Fuse fuse = Assert.Single(Fuses.Enumerate(later.KernelOver(g.Guest.Memory), []));
        Assert.Equal((room, -12, "-ENOMEM"), (fuse.Stub, fuse.Value, Fuses.Shown(fuse.Value)));
    }

    [Fact]
    public void Jumps_of_others_are_no_fuses()
    {
        using KernelGuest g = Guest();
        ulong jump = g.Guest.Modules[0].Text["drv_open"] + 4;
        foreach (ulong target in (ulong[])[g.Guest["vfs_write"], g.Guest.Modules[0].Text["drv_quick"], 0xffff_ffff_c000_0000])
        {
            Assert.True(FuseCode.TryJump(jump, target, out byte[] code));
            g.Guest.Write(jump, code);
            Assert.Empty(Fuses.Enumerate(g.Kernel, []));
        }
    }

    [Fact]
    public void A_stub_is_no_damage_to_the_text()
    {
        using KernelGuest g = Guest();
        ulong room = Set(g, "drv_open", -5);
        Assert.Equal("fuses", TextPatches.Patcher(g.Kernel, g.Image, room, 0xcc, 0x48));
        Assert.Equal("fuses", TextPatches.Patcher(g.Kernel, g.Image, room + 7, 0xcc, 0xc3));
        Assert.Equal("function tracing", TextPatches.Patcher(g.Kernel, g.Image, g.Guest.Modules[0].Text["drv_open"] + 4, 0x0f, 0xe9));
        g.Guest.Write(room, 0x49);
        Assert.Null(TextPatches.Patcher(g.Kernel, g.Image, room + 1, 0xcc, 0xc7));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Frozen_tasks_sleep_longer_than_anybody_asks_for(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        g.Guest.SleepFor(g.Guest.Kthread, 1UL << 31);
        Assert.Empty(FrozenTasks.Enumerate(g.Kernel, Target.TargetLimits.Default));
        g.Guest.SleepFor(g.Guest.Kthread, (1UL << 62) - 1);
        FrozenTask frozen = Assert.Single(FrozenTasks.Enumerate(g.Kernel, Target.TargetLimits.Default));
        Assert.Equal((g.Guest.Kthread.Address, "ct_sleeper"), (frozen.Task.Address, frozen.Where?.Name));

        // One that could be woken by a signal is none of ours.
        g.Guest.Put(g.Guest.Kthread.Address, "task_struct.__state", 1);
        Assert.Empty(FrozenTasks.Enumerate(g.Kernel, Target.TargetLimits.Default));
    }

    /// <summary>A timer that another task's sleep left on a stack is not this one's.</summary>
    [Fact]
    public void A_timer_of_another_task_does_not_count()
    {
        using var g = new KernelGuest();
        g.Guest.SleepFor(g.Guest.Kthread, (1UL << 62) - 1);
        ulong sp = g.Guest.Get(g.Guest.Kthread.Address, "task_struct.thread.sp");
        for (ulong at = sp; at < sp + 0x400; at += 8)
        {
            if (g.Guest.ReadU64(at) == g.Guest.Kthread.Address)
                g.Guest.WriteU64(at, g.Guest.Victim.Address);
        }

        Assert.Empty(FrozenTasks.Enumerate(g.Kernel, Target.TargetLimits.Default));
    }

    [Fact]
    public void A_kernel_without_such_timers_is_a_typed_failure()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Without = new HashSet<string> { "process_timeout" } });
        Assert.Throws<KernelShapeException>(() => FrozenTasks.Enumerate(g.Kernel, Target.TargetLimits.Default));
    }
}
