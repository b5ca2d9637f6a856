using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Repair.Strategies;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Repair.Tests.Strategies;

/// <summary>A task that sleeps for a mutex.</summary>
public sealed class MutexWaitTests : IDisposable
{
    private const ulong Gone = 0xffff_8880_dead_0000;

    private readonly CrashedGuest _guest = new(new CrashSpec());
    private readonly SyntheticTask[] _tasks;

    private SyntheticKernel Kernel => _guest.Guest;

    private LinuxKernel Live => _guest.Image.KernelOver(Kernel.Memory);

    public MutexWaitTests()
    {
        _tasks = [Kernel.AddTask(600, "one"), Kernel.AddTask(601, "two")];
        Kernel.Link();
    }

    public void Dispose() => _guest.Dispose();

    /// <summary>The queue is left as the kernel leaves it; one that does not hold together, or that is being changed, is not touched.</summary>
    [Fact]
    public void A_queue_is_left_by_both_its_neighbours()
    {
        ulong a = Kernel.Mutex(0), list = a + Kernel.Types.Offset("mutex.wait_list");
        Kernel.HoldMutex(a, Gone, _tasks);
        LockWait wait = First();
        Assert.True(MutexWait.TryLeave(Live, wait, out IReadOnlyList<PlannedWrite> writes, out string why), why);
        Assert.Equal(2, writes.Count);
        ulong first = Kernel.ReadU64(list), second = Kernel.ReadU64(first);
        Assert.Equal((second + 8, list), (writes[0].Address.Value, BitConverter.ToUInt64(writes[0].Bytes.Span)));
        Assert.Equal((list, second), (writes[1].Address.Value, BitConverter.ToUInt64(writes[1].Bytes.Span)));

        // Alone in it: nobody waits any more.
        Kernel.HoldMutex(a, Gone, _tasks[0]);
        Assert.True(MutexWait.TryLeave(Live, First(), out writes, out why), why);
        Assert.Equal((3, Gone), (writes.Count, BitConverter.ToUInt64(writes[2].Bytes.Span)));

        ulong guard = a + Kernel.Types.Offset("mutex.wait_lock");
        Kernel.Write(guard, [1, 0, 0, 0]);
        Assert.False(MutexWait.TryLeave(Live, wait, out _, out why));
        Assert.Contains("another CPU", why, StringComparison.Ordinal);
        Kernel.Write(guard, [0, 0, 0, 0]);
        Kernel.WriteU64(list + 8, 0xdead);
        Assert.False(MutexWait.TryLeave(Live, wait, out _, out why));
        Assert.Contains("queue is broken", why, StringComparison.Ordinal);
    }

    [Fact]
    public void What_somebody_who_is_gone_holds_is_released_and_keeps_its_waiters()
    {
        ulong a = Kernel.Mutex(0);
        Kernel.HoldMutex(a, Gone, _tasks);
        var hang = new Hang(CrashKind.HungTask, TimeSpan.Zero, ["seen"]) { Wait = First(), IsOwnerGone = true };
        RepairPlan plan = new HealStrategy().Evaluate(_guest.Evidence with { Hang = hang }).Plan!;
        PlannedWrite write = Assert.Single(plan.Writes);
        Assert.Equal((a + Kernel.Types.Offset("mutex.owner"), 1UL), (write.Address.Value, BitConverter.ToUInt64(write.Bytes.Span)));
        Assert.Empty(plan.Registers);
        Assert.Contains("is released", plan.Explanation, StringComparison.Ordinal);
    }

    private LockWait First() => WaitGraph.Build(Live, Tasks.Enumerate(Live, TargetLimits.Default), new TaskBacktraces(Live, TargetLimits.Default), TargetLimits.Default)
        .Edges.First(e => e.Wait.Task == _tasks[0].Address).Wait;
}
