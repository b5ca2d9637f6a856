using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench;

/// <summary>How long a full report of a dump takes, and <c>bt --all; ps; dmesg</c> of <c>panacea inspect</c>, beside crash and drgn doing <c>bt -a; ps; log</c> on the same file in the same run, by turns.</summary>
/// <param name="options">What to measure; of the numbers, only <see cref="BenchOptions.Rounds"/> counts.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class DiagnosisBench(BenchOptions options, ProgressLine progress)
{
    /// <summary>RAM of the guests: a whole dump of a small machine, and one of a large machine whose zeros are holes.</summary>
    private static readonly (int MiB, bool Sparse)[] Sizes = [(1024, false), (16384, true)];

    private const string CrashCommands = "bt -a\nps\nlog\nquit\n";

    /// <summary>The same as crash's <c>bt -a; ps; log</c>.</summary>
    private const string InspectCommands = "bt --all\nps\ndmesg\n";

    /// <summary>The same as crash's <c>bt -a; ps; log</c>, by drgn's helpers.</summary>
    private const string DrgnScript = """
        from drgn.helpers.linux import *

        for cpu in for_each_possible_cpu(prog):
            task = cpu_curr(prog, cpu)
            print("PID:", task.pid.value_(), "TASK:", hex(task), "CPU:", cpu, "COMMAND:", task.comm.string_())
            print(prog.stack_trace(task))
        for task in for_each_task(prog):
            vsz = task.mm.total_vm.value_() if task.mm else 0
            print(task.pid.value_(), task.real_parent.tgid.value_(), task_cpu(task), hex(task), task_state_to_char(task), vsz, task.comm.string_())
        print_dmesg(prog)
        """;

    private readonly List<Reader> _readers = [];

    /// <summary>Measures.</summary>
    /// <exception cref="LabException">The lab could not be set up, or a guest does not boot.</exception>
    public async Task<DiagnosisReport> RunAsync(CancellationToken cancel = default)
    {
        BenchHost host = await BenchStart.PrepareAsync(options, progress, cancel);
        var debug = new Dictionary<string, DebugInstallation>();
        DumpReaderInstallation others = await progress.DuringAsync("looking for crash, drgn and debug packages", async report =>
        {
            foreach (string line in options.Lines)
                debug[line] = await DebugPackages.GetAsync((await GuestBuilder.GetAsync(line, report, cancel)).Kernel, report, cancel);
            return await DumpReaders.GetAsync(report, cancel);
        });
        string directory = LabPaths.NewRunDirectory();
        try
        {
            string commands = Path.Combine(directory, "commands");
            await File.WriteAllTextAsync(commands, CrashCommands, cancel);
            _readers.Add(new Reader("panacea", (dump, _) => [options.Panacea.Path, "diagnose", dump, "--json"], "\"recoverability\""));
            string ours = Path.Combine(directory, "inspect-commands");
            await File.WriteAllTextAsync(ours, InspectCommands, cancel);
            _readers.Add(new Reader("inspect", (dump, _) => ["sh", "-c", "exec \"$0\" inspect \"$1\" < \"$2\"", options.Panacea.Path, dump, ours], "COMMAND:"));
            _readers.Add(new Reader("crash", (dump, vmlinux) => [.. others.Crash.Command, "-s", "-i", commands, vmlinux, dump], "COMMAND:"));
            _readers.Add(new Reader("drgn", (dump, vmlinux) => [.. others.Drgn.Command, "-q", "-c", dump, "-s", vmlinux, "-e", DrgnScript], "COMMAND:"));
            var dumps = new List<DumpFigures>();
            foreach (string line in options.Lines)
            {
                foreach ((int mib, bool sparse) in Sizes)
                {
                    string path = Path.Combine(directory, $"{line}-{mib}");
                    BenchDump dump = await progress.DuringAsync($"booting Debian's {line} kernel", report => BenchDump.MakeAsync(line, mib, sparse, path, report, cancel));
                    dumps.Add(new DumpFigures(line, dump.Kernel, mib, dump.Bytes, dump.BytesOnDisk, await MeasureAsync(line, mib, dump, debug[line].Vmlinux, directory, cancel)));
                    File.Delete(path);
                }
            }

            string[] programs = [$"panacea {host.Panacea}", $"crash {others.Crash.Version}", $"drgn {others.Drgn.Version}"];
            return new DiagnosisReport { At = DateTimeOffset.UtcNow, Command = CommandLine(), Host = host, Programs = programs, Dumps = dumps };
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    private string CommandLine() => string.Create(
        CultureInfo.InvariantCulture, $"./panacea bench diagnosis --rounds {options.Rounds} --kernels {string.Join(',', options.Lines)} --update-docs");

    private Task<IReadOnlyList<ReaderFigures>> MeasureAsync(string line, int mib, BenchDump dump, string vmlinux, string directory, CancellationToken cancel) =>
        progress.DuringAsync<IReadOnlyList<ReaderFigures>>($"{line}: reading {mib} MiB", async report =>
        {
            foreach (Reader reader in _readers)
                reader.Begin();

            // Once for programs and debug files, which are in the page cache from here on; not counted.
            for (int round = -1; round < options.Rounds; round++)
            {
                for (int i = 0; i < _readers.Count; i++)
                {
                    // Another one begins each time.
                    Reader reader = _readers[(i + Math.Max(0, round)) % _readers.Count];
                    report($"{line}: {reader.Name} reads {mib} MiB, round {Math.Max(0, round) + 1} of {options.Rounds}");
                    MeasuredProcess.DropFromCache(dump.Path);
                    foreach (bool cold in (bool[])[true, false])
                        await reader.RunAsync(dump.Path, vmlinux, directory, cold, round >= 0, cancel);
                }
            }

            return [.. _readers.Select(r => r.Figures())];
        });

    /// <summary>A program that reads dumps, and what it took.</summary>
    private sealed class Reader(string name, Func<string, string, IReadOnlyList<string>> command, string says)
    {
        private readonly List<MeasuredRun> _cold = [], _warm = [];
        private string? _failure;

        public string Name => name;

        public void Begin()
        {
            _cold.Clear();
            _warm.Clear();
            _failure = null;
        }

        public async Task RunAsync(string dump, string vmlinux, string directory, bool cold, bool counts, CancellationToken cancel)
        {
            string output = Path.Combine(directory, "output"), errors = Path.Combine(directory, "errors");
            MeasuredRun run = await MeasuredProcess.RunAsync(command(dump, vmlinux), output, errors, cancel);
            if (run.ExitCode != 0 || !(await File.ReadAllTextAsync(output, cancel)).Contains(says, StringComparison.Ordinal))
                _failure = $"exit status {run.ExitCode}: {LastLine(await File.ReadAllTextAsync(errors, cancel))}";
            if (counts)
                (cold ? _cold : _warm).Add(run);
        }

        public ReaderFigures Figures() => _cold.Count == 0 ? new ReaderFigures(name, null, null, null, null, _failure) : new ReaderFigures(
            name, Bench.Figures.Of(_cold.Select(r => r.WallUs)), Bench.Figures.Of(_warm.Select(r => r.WallUs)), Bench.Figures.Of(_warm.Select(r => r.CpuUs)),
            Bench.Figures.Of(_cold.Concat(_warm).Select(r => r.PeakBytes)), _failure);

        private static string LastLine(string text) => text.Trim().Split('\n')[^1];
    }
}
