namespace Panacea.Diagnosis.Machine;

/// <summary>A task by its number and name.</summary>
/// <param name="Pid">Thread id; null where it could not be read.</param>
/// <param name="Comm">Its name; null where it could not be read.</param>
public sealed record TaskLabel(int? Pid, string? Comm);

/// <summary>A task on a run queue.</summary>
/// <param name="Task">The task.</param>
/// <param name="Class">Scheduling class: <c>deadline</c>, <c>real-time</c>, <c>fair</c>, <c>extensible</c>.</param>
/// <param name="IsCurrent">It is the one that runs.</param>
public sealed record QueuedTaskReport(TaskLabel Task, string Class, bool IsCurrent);

/// <summary>The run queue of one CPU.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Running">Tasks that are ready, as the queue counts them.</param>
/// <param name="IsIdle">It runs its idle task.</param>
/// <param name="ClockBehindMs">By how much the queue's clock is behind the furthest one: it is updated by the tick, so an idle CPU's stands, and so does that of one whose interrupts are off.</param>
/// <param name="Tasks">The tasks on it, at most <see cref="SchedulingReader.MaxQueued"/>.</param>
/// <param name="Broken">Why not all of them could be read; null where they were.</param>
public sealed record RunQueueReport(int Cpu, long Running, bool IsIdle, long? ClockBehindMs, IReadOnlyList<QueuedTaskReport> Tasks, string? Broken);

/// <summary>RCU grace periods.</summary>
/// <param name="IsInProgress">One is running.</param>
/// <param name="IsStalled">It has run for so long that the kernel complains.</param>
/// <param name="AgeMs">Milliseconds for which it has run; null where none runs or the tick's length is not known.</param>
/// <param name="WaitsForCpus">CPUs that have not passed a quiescent state.</param>
/// <param name="BlockedReaders">Tasks that were preempted within a read section and hold it up.</param>
/// <param name="Callbacks">Callbacks that wait, of all CPUs.</param>
public sealed record RcuReport(bool IsInProgress, bool IsStalled, long? AgeMs, IReadOnlyList<int> WaitsForCpus, IReadOnlyList<TaskLabel> BlockedReaders, long Callbacks);

/// <summary>Run queues and what the scheduler waits for.</summary>
/// <param name="LoadAverage">The three load averages; empty where they could not be read.</param>
/// <param name="RunQueues">Run queue of each CPU that was online.</param>
/// <param name="Rcu">RCU; null where it could not be read.</param>
public sealed record SchedulingFacts(IReadOnlyList<double> LoadAverage, IReadOnlyList<RunQueueReport> RunQueues, RcuReport? Rcu);

/// <summary>Work that waits or is being done.</summary>
/// <param name="Function">Its function.</param>
/// <param name="Queue">The workqueue it was put on; null where that can't be told.</param>
/// <param name="Worker">Who does it; null where it waits.</param>
public sealed record WorkReport(string Function, string? Queue, TaskLabel? Worker);

/// <summary>A pool of workers that has something to do.</summary>
/// <param name="Id">Number.</param>
/// <param name="Cpu">Its CPU; null where it is unbound.</param>
/// <param name="Workers">Workers.</param>
/// <param name="Idle">Idle ones.</param>
/// <param name="StalledMs">Milliseconds since it last took work off its list, where work waits; null elsewhere.</param>
/// <param name="Busy">What is being done.</param>
/// <param name="Pending">What waits, first in line first; at most <see cref="SchedulingReader.MaxWork"/>.</param>
/// <param name="PendingCount">How much waits in all.</param>
public sealed record WorkerPoolReport(
    int Id, int? Cpu, int Workers, int Idle, long? StalledMs, IReadOnlyList<WorkReport> Busy, IReadOnlyList<WorkReport> Pending, int PendingCount);

/// <summary>Workqueues.</summary>
/// <param name="Pools">How many pools of workers there are.</param>
/// <param name="Active">Those that have something to do.</param>
/// <param name="Broken">Lists that do not hold together, in sentences.</param>
public sealed record WorkqueueFacts(int Pools, IReadOnlyList<WorkerPoolReport> Active, IReadOnlyList<string> Broken);

/// <summary>A timer that should have expired.</summary>
/// <param name="Cpu">CPU.</param>
/// <param name="Kind"><c>timer</c> (of the wheel) or <c>hrtimer</c>.</param>
/// <param name="Function">Its function.</param>
/// <param name="For">The task that sleeps on it or the work that it starts; null where it is neither.</param>
/// <param name="LateMs">Milliseconds by which it is late.</param>
public sealed record LateTimer(int Cpu, string Kind, string Function, string? For, long LateMs);

/// <summary>Timers.</summary>
/// <param name="Pending">Timers of the wheel.</param>
/// <param name="HighResolution">High-resolution timers.</param>
/// <param name="Late">Those that are late by more than <see cref="SchedulingReader.LateMs"/>, the latest first; at most <see cref="SchedulingReader.MaxLate"/>. Deferrable ones wait for their CPU to
/// wake and are not among them.</param>
/// <param name="Broken">Structures that do not hold together, in sentences.</param>
public sealed record TimerFacts(int Pending, int HighResolution, IReadOnlyList<LateTimer> Late, IReadOnlyList<string> Broken);
