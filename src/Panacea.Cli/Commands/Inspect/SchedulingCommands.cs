using System.CommandLine;
using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services.Inspection;
using Panacea.Diagnosis.Rendering;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>runq</c>, <c>locks</c>, <c>workqueues</c>, <c>timers</c>.</summary>
internal static class SchedulingCommands
{
    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        yield return tree.Sub(
            "runq", "Show the run queue of every CPU.", [("runq", "The current task and those that are ready, by class.")],
            (_, guest) => guest.Scheduling.RunQueues(), () => InspectionJson.Default.IReadOnlyListRunQueueRow, (queues, _) => RunQueues(tree, queues));
        yield return tree.Sub(
            "locks", "Show who waits for which lock and who holds it; deadlocks first.", [("locks", "Chains of waits, CPUs that spin, and tasks that wait for something unknown.")],
            (_, guest) => guest.Scheduling.Locks(), () => InspectionJson.Default.LocksAnswer, (locks, _) => Locks(tree, locks));
        var all = new Option<bool>("--all", "-a") { Description = "Workqueues without work too." };
        yield return tree.Sub(
            "workqueues", "Show what workers do and which work waits.", [("workqueues", "Pools of workers, busy and waiting work."), ("workqueues --all", "Every workqueue, those without work too.")],
            (_, guest) => guest.Scheduling.Workqueues(), () => InspectionJson.Default.WorkqueuesAnswer, (queues, parsed) => Workqueues(tree, queues, parsed.GetValue(all)), all);
        yield return tree.Sub(
            "timers", "List pending timers by CPU, those of the wheel and high-resolution ones.", [("timers", "When each is due and what it calls.")],
            (_, guest) => guest.Scheduling.Timers(), () => InspectionJson.Default.TimersAnswer, (timers, _) => Timers(tree, timers));
    }

    private static string Who(TaskName? task) => task is null ? "nobody known" : task.Pid is { } pid
        ? $"PID {InspectTree.N(pid)} \"{Safe.Text(task.Comm)}\" (task {InspectTree.Hex(task.Task)})" : $"task {InspectTree.Hex(task.Task)}, which can't be read";

    private static void RunQueues(InspectTree tree, IReadOnlyList<RunQueueRow> queues)
    {
        foreach (RunQueueRow q in queues)
        {
            tree.Out.WriteLine(tree.Console.Paint.Bold(string.Create(CultureInfo.InvariantCulture, $"CPU {q.Cpu}  RUNQUEUE: {InspectTree.Hex(q.Address)}")));
            tree.Out.WriteLine($"  CURRENT: PID: {(q.Current.Pid is { } pid ? InspectTree.N(pid) : "-"),-7}  TASK: {InspectTree.Hex(q.Current.Task)}  COMMAND: \"{Safe.Text(q.Current.Comm)}\"");
            tree.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"  RUNNING: {q.Running}  SWITCHES: {q.Switches}  IOWAIT: {q.IoWait}  CLOCK: {q.ClockNs / 1e9:0.000000} s"));
            foreach (IGrouping<string, QueuedRow> byClass in q.Queued.GroupBy(t => t.Class))
            {
                tree.Out.WriteLine($"  {byClass.Key.ToUpperInvariant()}:");
                foreach (QueuedRow t in byClass)
                {
                    string notes = (t.Current ? "  [CURRENT]" : "") + (t.Delayed ? "  [DELAYED]" : "");
                    string indent = new(' ', 2 * Math.Min(t.Depth, 16));
                    tree.Out.WriteLine(
                        $"     {indent}[{(t.Priority is { } priority ? InspectTree.N(priority) : "-"),3}] PID: {(t.Task.Pid is { } id ? InspectTree.N(id) : "-"),-7}  TASK: {InspectTree.Hex(t.Task.Task)}  COMMAND: \"{Safe.Text(t.Task.Comm)}\"{notes}");
                }
            }

            if (q.Queued.Count == 0)
                tree.Out.WriteLine("     [no tasks queued]");
            if (q.Broken is { } broken)
                tree.Out.WriteLine($"     ({Safe.Text(broken)})");
        }
    }

    private static void Locks(InspectTree tree, LocksAnswer locks)
    {
        foreach (ChainRow chain in locks.Chains)
        {
            string title = chain.Ends switch
            {
                "deadlock" => tree.Console.Paint.Red("DEADLOCK"),
                "owner-gone" => tree.Console.Paint.Red("OWNER GONE: nobody will let go of the last lock"),
                "runs" => tree.Console.Paint.Bold("WAIT: the holder of the last lock runs, or is ready to"),
                "sleeps" => tree.Console.Paint.Bold("WAIT: the holder of the last lock sleeps over something else"),
                _ => tree.Console.Paint.Bold("WAIT: who holds the last lock is not known"),
            };
            tree.Out.WriteLine(title);
            foreach (WaitRow w in chain.Links)
            {
                tree.Out.WriteLine($"  {Who(w.Waiter)}");
                string name = w.Name is null ? "" : $" {Safe.Text(w.Name)}";
                tree.Out.WriteLine($"    waits{(w.Exclusive ? "" : " as a reader")} for {w.Kind} {InspectTree.Hex(w.Lock)}{name}{(w.Function is null ? "" : $" in {Safe.Text(w.Function)}")}, held by {Who(w.Owner)}");
            }
        }

        foreach (SpinRow s in locks.Spinning)
        {
            tree.Out.WriteLine(tree.Console.Paint.Bold(string.Create(CultureInfo.InvariantCulture, $"CPU {s.Cpu} SPINS")));
            string holders = s.PossibleHolders.Count == 0 ? "" : $"; could be held by CPU {string.Join(", ", s.PossibleHolders.Select(c => InspectTree.N(c)))}";
            tree.Out.WriteLine($"  {Who(s.Task)}");
            tree.Out.WriteLine($"    for spinlock {InspectTree.Hex(s.Lock)}{(s.Name is null ? "" : $" {Safe.Text(s.Name)}")}{(s.Caller is null ? "" : $" in {Safe.Text(s.Caller)}")}{holders}");
        }

        if (locks.Unexplained.Count > 0)
            tree.Out.WriteLine(tree.Console.Paint.Bold("UNINTERRUPTIBLE, for no known lock"));
        foreach (UnexplainedRow u in locks.Unexplained)
            tree.Out.WriteLine($"  {Who(u.Task)}: {Safe.Text(u.Why)}");
        if (locks is { Chains.Count: 0, Spinning.Count: 0, Unexplained.Count: 0 })
            tree.Out.WriteLine("No task waits for a lock, no CPU spins.");
    }

    private static void Workqueues(InspectTree tree, WorkqueuesAnswer answer, bool all)
    {
        var pools = new Columns(("POOL", false), ("ID", true), ("CPU", true), ("NICE", true), ("WORKERS", true), ("IDLE", true), ("BUSY", true), ("PENDING", true));
        foreach (PoolRow p in answer.Pools)
        {
            pools.Add(
                InspectTree.Hex(p.Address), InspectTree.N(p.Id), InspectTree.N(p.Cpu), InspectTree.N(p.Nice), InspectTree.N(p.Workers), InspectTree.N(p.Idle), InspectTree.N(p.Busy.Count),
                InspectTree.N(p.Pending.Count));
        }

        pools.WriteTo(tree.Out, tree.Console.Paint);
        foreach (PoolRow p in answer.Pools)
        {
            foreach (WorkRow w in p.Busy)
                tree.Out.WriteLine($"  pool {InspectTree.N(p.Id)}: {Who(w.Worker)} does {Work(w)}");
            foreach (WorkRow w in p.Pending)
                tree.Out.WriteLine($"  pool {InspectTree.N(p.Id)}: pending {Work(w)}");
            if (p.Broken is { } broken)
                tree.Out.WriteLine($"  pool {InspectTree.N(p.Id)}: ({Safe.Text(broken)})");
        }

        tree.Out.WriteLine();
        WorkqueueRow[] shown = [.. answer.Queues.Where(q => all || q.Active > 0 || q.Inactive.Count > 0 || q.Broken is not null)];
        if (shown.Length == 0)
        {
            tree.Out.WriteLine($"{InspectTree.N(answer.Queues.Count)} workqueues, none with work.");
            return;
        }

        var queues = new Columns(("WORKQUEUE", false), ("ACTIVE", true), ("INACTIVE", true), ("CPUS", false), ("FLAGS", false), ("NAME", false));
        foreach (WorkqueueRow q in shown)
            queues.Add(InspectTree.Hex(q.Address), InspectTree.N(q.Active), InspectTree.N(q.Inactive.Count), q.Unbound ? "unbound" : "per CPU", $"0x{q.Flags:x}", q.Name);
        queues.WriteTo(tree.Out, tree.Console.Paint);
        foreach (WorkqueueRow q in shown.Where(q => q.Broken is not null))
            tree.Out.WriteLine($"  {Safe.Text(q.Name)}: ({Safe.Text(q.Broken)})");
    }

    private static string Work(WorkRow w) => $"{Safe.Text(w.Function)} (work {InspectTree.Hex(w.Work)}{(w.Queue is null ? "" : $", workqueue {Safe.Text(w.Queue)}")})";

    private static void Timers(InspectTree tree, TimersAnswer timers)
    {
        tree.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"JIFFIES: {timers.Jiffies}{(timers.Hz is { } hz ? $"  HZ: {hz}" : "")}"));
        foreach (IGrouping<(int Cpu, string Wheel), TimerRow> wheel in timers.Wheel.GroupBy(t => (t.Cpu, t.Wheel)))
        {
            tree.Out.WriteLine(tree.Console.Paint.Bold(string.Create(CultureInfo.InvariantCulture, $"CPU {wheel.Key.Cpu}, {wheel.Key.Wheel} wheel")));
            var table = new Columns(("EXPIRES", true), ("TTE", true), ("TIMER_LIST", false), ("FUNCTION", false));
            foreach (TimerRow t in wheel)
                table.Add(InspectTree.N(t.Expires), InspectTree.N(t.Tte), InspectTree.Hex(t.Timer), t.Function + (t.For is null ? "" : $"  for {t.For}"));
            table.WriteTo(tree.Out, tree.Console.Paint);
        }

        foreach (IGrouping<(int Cpu, string Clock), HrtimerRow> clock in timers.HighResolution.GroupBy(t => (t.Cpu, t.Clock)))
        {
            tree.Out.WriteLine(tree.Console.Paint.Bold(string.Create(CultureInfo.InvariantCulture, $"CPU {clock.Key.Cpu}, {clock.Key.Clock} clock, high resolution")));
            var table = new Columns(("SOFTEXPIRES", true), ("EXPIRES", true), ("TTE", true), ("HRTIMER", false), ("FUNCTION", false));
            foreach (HrtimerRow t in clock)
            {
                table.Add(
                    InspectTree.N(t.SoftExpiresNs), InspectTree.N(t.ExpiresNs), InspectTree.N(t.TteNs), InspectTree.Hex(t.Timer), t.Function + (t.For is null ? "" : $"  for {t.For}"));
            }

            table.WriteTo(tree.Out, tree.Console.Paint);
        }

        foreach (string broken in timers.Broken)
            tree.Out.WriteLine($"({Safe.Text(broken)})");
    }
}
