using Panacea.Cli.Services.Inspection;

namespace Panacea.Cli.Tests.Inspect;

/// <summary>A guest that has one of everything, and a name that would take over a terminal.</summary>
internal sealed class FakeGuest : IInspectionSession, IInspection, ITaskInspection, IStackInspection, IKernelInspection, ISymbolInspection, IMemoryInspection, ISchedulingInspection, IResourceInspection
{
    /// <summary>A name with an escape sequence and a bidirectional control.</summary>
    public const string Evil = "\x1b]0;evil\a\u202e\n";

    /// <summary>The name as it may be shown.</summary>
    public const string Shown = "\\x1b]0;evil\\x07\\u{202e}\\n";

    private static readonly TaskRow EvilTask = new(300, 300, 1, "R", 1, Evil, false, 0xffff888000000002) { Active = true, MemoryPercent = 1.5, VszKib = 4000, RssKib = 1200 };
    private static readonly TaskName EvilName = new(300, Evil, 0xffff888000000002);

    public bool Disposed { get; private set; }

    public int Looks { get; private set; }

    public IReadOnlyList<string> Notes { get; init; } = [];

    public string Description => $"Linux 6.1 {Evil}";

    public IReadOnlyList<string> Missing => [];

    public ITaskInspection Tasks => this;

    public IStackInspection Stacks => this;

    public IKernelInspection Kernel => this;

    public ISymbolInspection Symbols => this;

    public ISchedulingInspection Scheduling => this;

    public IResourceInspection Resources => this;

    IMemoryInspection IInspection.Memory => this;

    public ReadRequest? LastRead { get; private set; }

    public DisassemblyRequest? LastDisassembly { get; private set; }

    public IInspection Look(CancellationToken cancel)
    {
        Assert.False(Disposed);
        Looks++;
        return this;
    }

    public void Dispose() => Disposed = true;

    public IReadOnlyList<TaskRow> List() =>
    [
        new(1, 1, 0, "S", 0, "init", false, 0xffff888000000001) { MemoryPercent = 0.1, VszKib = 2345, RssKib = 100 }, new(2, 2, 0, "S", null, "kthreadd", true, 1) { MemoryPercent = 0, VszKib = 0, RssKib = 0 }, EvilTask,
    ];

    TaskReport? ITaskInspection.Find(int pid) => pid != 300 ? null : new TaskReport
    {
        Task = EvilTask, CommandLine = Evil, Parents = [$"1 {Evil}"], Policy = "normal", WaitsIn = Evil, Cgroup = Evil, WorkingDirectory = Evil, Root = Evil, Executable = Evil,
        Ids = [0, 0, 0, 0], Namespaces = new Dictionary<string, long> { ["mnt"] = 4026531840 },
    };

    public FilesReport? Files(int pid) => pid != 300 ? null : new FilesReport(EvilTask, Evil, "/tmp",
    [
        new(0, 0xffff888000000010, 0xffff888000000020, 0xffff888000000030, 5, "CHR", "/dev/null", 0, 0, null),
        new(3, 0xffff888000000011, 0xffff888000000021, 0xffff888000000031, 6, "SOCK", Evil, 2, 0, new(1, "inet", "stream", "LISTEN", "0.0.0.0:6379", "", 0, 511)),
    ]);

    public IReadOnlyList<BacktraceRow> OfCpus() =>
    [
        new(0, 1, "init", false, [new(0xffffffff81000005, "schedule+0x5/0x10", true) { Sp = 0xffffc90000013e50, Stack = "irq" }, new(0xffffffff81000001, Evil, false) { Sp = 0xffffc90000013e60, Stack = "task" }])
        {
            Task = 0xffff888000000001, Cpu = 0, State = "R", Ends = "the proved part ends here",
        },
        new(1, null, null, true, []),
    ];

    public IReadOnlyList<BacktraceRow> OfAllTasks() => [new(null, 300, Evil, false, []) { Task = 1, Ends = Evil }];

    public BacktraceRow? Of(int pid) => pid == 300 ? OfAllTasks()[0] : null;

    public IReadOnlyList<ModuleRow> Modules() => [new("virtio_blk", 0xffffffffc0000000, 20480, "live", "") { Address = 0xffffffffc0004000 }, new(Evil, 0xffffffffc0010000, 4096, "live", "OE")];

    public IReadOnlyList<LogRow> Log() => [new(1_500_000_000, 6, "hello\x1b[31m"), new(12_345_678_901, 0, "Oops")];

    public string? VmcoreInfo() => "OSRELEASE=6.1\nPAGESIZE=4096\nEVIL=\x1b[31m\n";

    public SystemAnswer System() => new()
    {
        Source = Evil, Cpus = 2, CpusOffline = 1, Date = new DateTimeOffset(2026, 1, 2, 3, 4, 5, TimeSpan.Zero), UptimeMs = 90_061_000, LoadAverage = [0.5, 0.25, 0.125], Tasks = 67, Nodename = Evil,
        Release = "6.1", Version = Evil, Machine = "x86_64", Mhz = 2100, MemoryBytes = 512 << 20, Panic = Evil, Taint = "", BuildId = "ab12", CommandLine = Evil, CpuModel = Evil,
    };

    public IReadOnlyList<SymbolRow> Find(string name) => name == "oops_end" ? [new(name, 0xffffffff81000000, 16, "T", null), new(Evil, 0xffffffffc0000000, 0, "t", Evil)] : [];

    public TypeText? FindType(string name) => name == "mutex" ? new("struct mutex", 32, $"struct mutex {{\n\tatomic_long_t owner; /* 0 */\n\tint {Evil.Replace("\n", "", StringComparison.Ordinal)};\n}};\n") : null;

    public IReadOnlyList<string> Names() => ["do_exit", "do_nmi", "oops_end", "oops_enter", "zz\x1b[31m"];

    public IReadOnlyList<string> TypeNames() => ["mutex", "task_struct", "task_work"];

    public ReadAnswer Read(ReadRequest request)
    {
        LastRead = request;
        var answer = new ReadAnswer { Address = 0xffffffff82000000, As = request.As, Physical = request.Physical };
        return request.As switch
        {
            "u64" => answer with { Bytes = "0100000000000000", Words = [new(0xffffffff82000000, 1, null), new(0xffffffff82000008, 0xffffffff81000000, $"{Evil}+0x0/0x10")] },
            "string" => answer with { Text = Evil },
            "mutex" => answer with { As = "struct mutex", Members = [new(0, 0, "owner", "atomic_long_t", null, null), new(1, 0, "counter", "s64", "0", null), new(0, 128, Evil, "char *", Evil, Evil)] },
            _ => answer with { Bytes = "48656c6c6f1b5d303b6576696c07000001" },
        };
    }

    public DisassemblyAnswer Disassemble(DisassemblyRequest request)
    {
        LastDisassembly = request;
        return new DisassemblyAnswer("oops_end", 0xffffffff81000000, 16, Evil, "memory",
        [
            new(0xffffffff81000000, "55", "push %rbp", false, null, null), new(0xffffffff81000001, "90", "nop", true, "c3", $"ret {Evil}"),
        ]);
    }

    public IReadOnlyList<RunQueueRow> RunQueues() =>
    [
        new(0, 0xffff88803ec00000, 1, 1234, 0, 5_000_000_000, new TaskName(0, "swapper/0", 0xffffffff82a00000), true, [new(EvilName, "fair", 120, 77, 1, false, true)], Evil),
        new(1, 0xffff88803ed00000, 0, 99, 0, 5_000_000_000, new TaskName(0, "swapper/1", 0xffff888000000009), true, [], null),
    ];

    public LocksAnswer Locks() => new(
        [new ChainRow("deadlock", [new WaitRow(EvilName, "mutex", 0xffff888000000100, Evil, "mutex_lock", true, EvilName)]), new ChainRow("owner-unknown", [new WaitRow(EvilName, "rw-semaphore", 1, null, null, false, null)])],
        [new SpinRow(1, EvilName, 0xffff888000000200, Evil, Evil, [0])], [new UnexplainedRow(new TaskName(null, null, 5), Evil)]);

    public WorkqueuesAnswer Workqueues() => new(
        [new(1, "events", 0, false, 0, [], null), new(2, Evil, 0xa, true, 3, [Evil], Evil)],
        [new(3, 0, 0, 0, 2, 1, [new WorkRow(4, Evil, Evil, null)], [new WorkRow(5, "wait_for", null, EvilName)], Evil), new(6, 4, null, null, 0, 0, [], [], null)]);

    public TimersAnswer Timers() => new(
        4294900000, 250, 5_000_000_000, [new(0, "standard", 4294900010, 10, 7, "process_timeout", $"{Evil} (300)")], [new(1, "monotonic", 5, 6, 1, 8, Evil, null)], [Evil]);

    public MemoryAnswer Memory() => new(
        [new("TOTAL MEM", 100_000, null, null), new("FREE", 50_000, 50, "TOTAL MEM"), new("TOTAL SWAP", 0, null, null), new("SWAP USED", 0, null, "TOTAL SWAP")],
        [new(0, Evil, 9, 50_000, 10, 20, 30, 100_000, 100_000, 99_000)], 2, 0);

    public IReadOnlyList<SlabRow> Slabs() => [new(1, "task_struct", 9000, 9024, 100, 120, 40, 32, 1280, 1, []), new(2, Evil, 8, 8, null, null, null, 4, null, 3, [])];

    public IReadOnlyList<MountRow>? Mounts(int pid) => pid is 1 or 300 ? [new(0xffff888000000300, 0xffff888000000400, "ext4", "/dev/vda", Evil, "/", ["rw"])] : null;

    public NetAnswer Net() => new(
        [new(0xffff888000000500, Evil, 1, true, true, 1500, "52:54:00:12:34:56", ["10.0.2.15/24"], 10, 1000, 20, 2000, null), new(1, "lo", 2, false, false, 65536, "", [], null, null, null, null, null)],
        [new(0xffff888000000600, "inet", "stream", "LISTEN", "0.0.0.0:6379", "", 0, 511), new(2, "unix", "", Evil, Evil, Evil, 0, 0)]);

    public DevicesAnswer Devices() => new(
        [new(1, 0, 256, "mem", 0xffff888000000700, "memory_fops"), new(10, 0, 256, Evil, null, null)], [new(7, "loop", 0xffff888000000800, Evil), new(8, Evil, null, null)],
        [new(7, 0, 0xffff888000000800, "loop0", 0xffff888000000900, 1, 2), new(8, 0, 1, Evil, 2, null, null)]);
}
