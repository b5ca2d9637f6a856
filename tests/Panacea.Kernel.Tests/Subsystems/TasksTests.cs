using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class TasksTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxTasks = 1000 };

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void Every_thread_of_every_process_is_there_once(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels), k =>
        {
            SyntheticTask server = k.AddTask(500, "server", arguments: ["server"]);
            k.AddTask(501, "worker", server);
            k.AddTask(502, "worker", server);
        });
        List<LinuxTask> tasks = Tasks.Enumerate(g.Kernel, Few);
        Assert.Equal([0, 1, 2, 9, 321, 500, 501, 502], tasks.Select(t => t.Pid).Order());
        Assert.Equal((0, "swapper/0"), (tasks[0].Pid, tasks[0].Comm));
        Assert.All(tasks.Where(t => t.Pid >= 500), t => Assert.Equal((500, tasks.First(l => l.Pid == 500).Memory), (t.Tgid, t.Memory)));
        Assert.Equal([2, 9], tasks.Where(t => t.IsKernelThread && t.Pid != 0).Select(t => t.Pid));
        Assert.Equal(g.Guest.Victim.Address, tasks.First(t => t.Comm == "victim").Address);
        Assert.Equal(tasks.Skip(1).Select(t => t.Address), Tasks.Addresses(g.Kernel, Few));
    }

    [Theory]
    [InlineData(0u, 0u, 'R')]
    [InlineData(1u, 0u, 'S')]
    [InlineData(2u, 0u, 'D')]
    [InlineData(4u, 0u, 'T')]
    [InlineData(8u, 0u, 't')]
    [InlineData(0x402u, 0u, 'I')]
    [InlineData(0x1000u, 0u, 'D')]
    [InlineData(0x80u, 0x20u, 'Z')]
    [InlineData(0x80u, 0x10u, 'X')]
    [InlineData(0x40u, 0u, 'P')]
    [InlineData(0x8000u, 0u, 'D')]
    [InlineData(0x102u, 0u, 'D')]
    public void States_are_shown_as_ps_shows_them(uint state, uint exit, char letter)
    {
        using var g = new KernelGuest(null, k => k.AddTask(77, "looked-at", state: state, exitState: exit));
        Assert.Equal(letter, Tasks.Enumerate(g.Kernel, Few).First(t => t.Pid == 77).State);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Shapes), MemberType = typeof(KernelGuest))]
    public void The_command_line_is_read_from_the_processs_own_memory(KernelShape shape, int levels)
    {
        using var g = new KernelGuest(RepairImageTests.Options(shape, levels));
        LinuxTask victim = Tasks.ReadTask(g.Kernel, g.Guest.Victim.Address);
        Assert.True(Tasks.TryReadCommandLine(g.Kernel, victim, 4096, out string line, out _));
        Assert.Equal("/usr/bin/victim --port 80", line);
        Assert.True(Tasks.TryReadCommandLine(g.Kernel, victim, 8, out line, out _));
        Assert.Equal("/usr/bin", line);
        Assert.False(Tasks.TryReadCommandLine(g.Kernel, Tasks.ReadTask(g.Kernel, g.Guest.Kthread.Address), 4096, out _, out string why));
        Assert.Equal("a kernel thread has no command line", why);
    }

    [Theory]
    [InlineData("mm_struct.arg_end", 0UL, "before arg_start")]
    [InlineData("mm_struct.arg_start", 0x1000UL, "not mapped")]
    [InlineData("mm_struct.pgd", 0x1234UL, "not mapped")]
    [InlineData("mm_struct.pgd", ulong.MaxValue, "mapped")]
    [InlineData("mm_struct.arg_end", ulong.MaxValue, "")]
    public void A_command_line_that_cannot_be_read_says_why(string member, ulong value, string says)
    {
        using var g = new KernelGuest();
        LinuxTask victim = Tasks.ReadTask(g.Kernel, g.Guest.Victim.Address);
        g.Guest.Put(victim.Memory, member, value);
        if (Tasks.TryReadCommandLine(g.Kernel, victim, 64, out _, out string why))
            Assert.Equal("", says);
        else
            Assert.Contains(says, why);
    }

    public static TheoryData<string> Damages => ["tasks to itself", "tasks to another", "threads to themselves", "threads into the void", "empty processes in a ring", "not mapped", "null", "signal null", "parent null"];

    [Theory]
    [MemberData(nameof(Damages))]
    public void A_list_that_does_not_close_is_a_typed_failure(string damage)
    {
        using var g = new KernelGuest(null, k => k.AddTask(400, "another"));
        SyntheticKernel k = g.Guest;
        ulong tasks = k.Types.Offset("task_struct.tasks"), node = k.Types.Offset("task_struct.thread_node"), head = k.Types.Offset("signal_struct.thread_head");
        SyntheticTask victim = k.Victim;
        switch (damage)
        {
            case "tasks to itself":
                k.WriteU64(victim.Address + tasks, victim.Address + tasks);
                break;
            case "tasks to another":
                k.WriteU64(victim.Address + tasks, k.Init.Address + tasks);
                break;
            case "threads to themselves":
                k.WriteU64(victim.Address + node, victim.Address + node);
                break;
            case "threads into the void":
                k.WriteU64(victim.Address + node, k.Direct(0x10_0000));
                break;
            case "empty processes in a ring":
                k.WriteU64(victim.Address + tasks, victim.Address + tasks);
                k.WriteU64(victim.Signal + head, victim.Signal + head);
                break;
            case "not mapped":
                k.WriteU64(victim.Address + tasks, 0xffff_c900_0000_0000);
                break;
            case "null":
                k.WriteU64(victim.Address + tasks, 0);
                break;
            case "signal null":
                k.Put(victim.Address, "task_struct.signal", 0);
                break;
            default:
                k.Put(victim.Address, "task_struct.real_parent", 0);
                break;
        }

        long before = k.Memory.Reads;
        Exception e = Assert.ThrowsAny<Exception>(() => Tasks.Enumerate(g.Kernel, TargetLimits.Default));
        Assert.True(e is KernelShapeException or GuestMemoryException, e.ToString());

        // A circle is noticed as one, long before there are too many.
        Assert.InRange(k.Memory.Reads - before, 1, 1000);
    }

    [Fact]
    public void More_tasks_than_the_limit_are_refused()
    {
        using var g = new KernelGuest();
        Assert.ThrowsAny<KernelShapeException>(() => Tasks.Enumerate(g.Kernel, Few with { MaxTasks = 3 }));
        Assert.Equal(5, Tasks.Enumerate(g.Kernel, Few with { MaxTasks = 5 }).Count);
    }

    [Fact]
    public void A_name_without_its_end_or_of_strange_bytes_is_still_a_name()
    {
        using var g = new KernelGuest();
        ulong comm = g.Guest.Victim.Address + g.Guest.Types.Offset("task_struct.comm");
        g.Guest.Write(comm, [.. Enumerable.Repeat((byte)'x', 16)]);
        Assert.Equal(new string('x', 16), Tasks.ReadTask(g.Kernel, g.Guest.Victim.Address).Comm);
        g.Guest.Write(comm, 0xff, 0xfe, 0);
        Assert.Equal("\ufffd\ufffd", Tasks.ReadTask(g.Kernel, g.Guest.Victim.Address).Comm);
    }
}
