using System.Globalization;
using System.Runtime.InteropServices;
using Panacea.Lab;
using Panacea.Lab.Bench;
using Panacea.Lab.Guests;
using Panacea.Lab.Logs;
using Panacea.Lab.Matrix;
using Panacea.Lab.Quiet;
using Panacea.Lab.Setup;
using Panacea.Lab.Tour;

const string Usage = """
    Guests of the lab, by hand.

      boot LINE [--memory MIB] [--shared memfd|file] [--start redis,counter] [--panic SECONDS] [--la57] [--accel kvm|tcg|tcg-single]
           [--vmcoreinfo] [--vcpus N] [--vmcore FILE] [--kexec-file] [--append PARAMETERS] [--cpu OPTIONS]
                      boots a guest of a kernel line (6.1, 6.12), prints its pid, sockets and ports, then reads commands:
                      any line runs in the guest; "console" shows the serial console, "stop" or Ctrl-C ends it;
                      --vmcore sets 128 MiB aside for a crash kernel, whose copy of the guest's memory is moved to FILE when the guest has crashed
      run PORT COMMAND
                      runs a shell command in a guest whose control port "boot" printed
      capture-logs LINE|all DIRECTORY [NAME…]
                      provokes the kernel's reports in guests that nobody guards and stores their console text as samples
      matrix LINE|all PANACEA [--document FILE] [--journal FILE [--so-far]] [--evidence DIRECTORY] [--baseline] [--endurance CRASHES] [--cpu OPTIONS] [CELL…]
                      crashes guarded guests in every cell of the matrix (or in those named, "sample" for one of each) and prints what became of it;
                      PANACEA is the executable; --document: writes docs/recovery-matrix.md there; --baseline: the same cells on guests
                      that nobody guards, with panic_on_oops=1 and 0; --endurance: so many crashes of one guest in a row, too;
                      --journal: keeps results as they come, and does not run again what is in it; --so-far: runs nothing else either; --evidence: reports of guests that did not live;
                      --cpu: more of QEMU's -cpu, such as family=23,model=49, for which kernels replace each return
      quiet LINE|all PANACEA [MINUTES]
                      guards healthy guests, an idle and a busy one, for an hour (or so many minutes), on a host that has too little for them and
                      is suspended now and then, and prints what the guard took for a crash or a hang: nothing is right
      setup [--yes] [--tests] [--debuginfo] [--refresh]
                      installs what the guests (and the tests) need, downloads the kernels (--refresh: looks for newer ones), builds the guests;
                      --debuginfo: the kernels' debug packages and what reads dumps with them too (some 650 MB to download)
    """;

const int CrashKernelMiB = 128;

try
{
    switch (args)
    {
        case ["boot", string line, .. string[] options]:
            (GuestSpec spec, string? vmcore) = Parse(line, options);
            return await BootAsync(spec, vmcore);
        case ["run", string port, .. { Length: > 0 } command]:
            GuestCommandResult result = await new GuestControl(int.Parse(port, CultureInfo.InvariantCulture)).RunAsync(string.Join(' ', command));
            Console.Write(result.Output);
            return result.Status;
        case ["capture-logs", string lines, string directory, .. string[] names]:
            return await CaptureLogsAsync(lines, directory, names);
        case ["matrix", string lines, string panacea, .. string[] names]:
            return await MatrixAsync(lines, new PanaceaProgram(Path.GetFullPath(panacea)), names);
        case ["quiet", string lines, string panacea, .. string[] minutes]:
            return await QuietAsync(lines, new PanaceaProgram(Path.GetFullPath(panacea)), TimeSpan.FromMinutes(minutes is [{ } some] ? double.Parse(some, CultureInfo.InvariantCulture) : 60));
        case ["setup", .. string[] options]:
            await SetUpAsync(options);
            return 0;
        default:
            Console.Error.WriteLine(Usage);
            return 2;
    }
}
catch (OperationCanceledException)
{
    return 130;
}
catch (Exception e) when (e is LabException or IOException or TimeoutException or FormatException)
{
    Console.Error.WriteLine(e.Message);
    return 1;
}

static (GuestSpec Spec, string? Vmcore) Parse(string line, string[] options)
{
    var spec = new GuestSpec { Line = line };
    string? vmcore = null;
    for (int i = 0; i < options.Length; i++)
    {
        string Value() => ++i < options.Length ? options[i] : throw new FormatException($"{options[^1]} takes a value");
        spec = options[i] switch
        {
            "--memory" => spec with { MemoryMiB = int.Parse(Value(), CultureInfo.InvariantCulture) },
            "--shared" => spec with { Memory = Value() == "file" ? GuestMemoryBacking.SharedFile : GuestMemoryBacking.SharedMemfd },
            "--start" => spec with { Start = Value().Split(',') },
            "--panic" => spec with { PanicTimeout = int.Parse(Value(), CultureInfo.InvariantCulture) },
            "--vmcoreinfo" => spec with { VmcoreInfo = true },
            "--vcpus" => spec with { Vcpus = int.Parse(Value(), CultureInfo.InvariantCulture) },
            "--vmcore" => spec with { CrashKernelMiB = (vmcore = Value()).Length > 0 ? CrashKernelMiB : 0 },
            "--kexec-file" => spec with { KexecFileLoad = true },
            "--la57" => spec with { FiveLevelPaging = true },
            "--accel" => spec with { Accelerator = Value() switch { "kvm" => GuestAccelerator.Kvm, "tcg" => GuestAccelerator.Tcg, _ => GuestAccelerator.TcgSingleThread } },
            "--cpu" => spec with { Cpu = Value() },
            "--append" => spec with { KernelParameters = Value() },
            _ => throw new FormatException($"unknown option {options[i]}"),
        };
    }

    return (spec, vmcore);
}

static async Task<int> CaptureLogsAsync(string lines, string directory, string[] names)
{
    int failures = 0;
    foreach (string line in lines == "all" ? KernelPackages.Lines : [lines])
    {
        foreach (string failed in await LogCapture.RunAsync(line, directory, names, Console.Error.WriteLine))
        {
            failures++;
            Console.WriteLine($"{line} {failed}: the kernel did not write what was waited for");
        }
    }

    return failures == 0 ? 0 : 1;
}

static async Task<int> MatrixAsync(string lines, PanaceaProgram panacea, string[] names)
{
    int failures = 0;
    string? document = null, path = null, evidence = null;
    string cpu = "";
    bool baseline = false, soFar = false;
    int endurance = 0;
    while (names is [{ } option, ..] && option.StartsWith("--", StringComparison.Ordinal))
    {
        switch (names)
        {
            case ["--document", { } file, ..]:
                (document, names) = (file, names[2..]);
                break;
            case ["--journal", { } file, ..]:
                (path, names) = (file, names[2..]);
                break;
            case ["--cpu", { } more, ..]:
                (cpu, names) = (more, names[2..]);
                break;
            case ["--evidence", { } directory, ..]:
                (evidence, names) = (directory, names[2..]);
                break;
            case ["--endurance", { } crashes, ..]:
                (endurance, names) = (int.Parse(crashes, CultureInfo.InvariantCulture), names[2..]);
                break;
            case ["--so-far", ..]:
                (soFar, names) = (true, names[1..]);
                break;
            case ["--baseline", ..]:
                (baseline, names) = (true, names[1..]);
                break;
            default:
                throw new FormatException($"unknown option {option}");
        }
    }

    if (soFar && path is null)
        throw new FormatException("--so-far shows what a journal holds: name one with --journal");

    // What the results depend on; where files lie is the business of who runs it.
    string[] options = [.. (string[])(baseline ? ["--baseline"] : []), .. (string[])(endurance > 0 ? ["--endurance", endurance.ToString(CultureInfo.InvariantCulture)] : []), .. (string[])(cpu.Length > 0 ? ["--cpu", cpu] : [])];
    string command = string.Join(' ', ["dotnet run --project lab/Panacea.Lab.Tool -- matrix", lines, "PANACEA --document FILE", .. options, .. names]);
    var kernels = new List<KernelMatrix>();
    var rows = new List<Endurance>();
    IReadOnlyList<MatrixCell> cells = names is [] ? [.. MatrixCell.All, .. MatrixCell.Hangs] : names is ["sample"] ? [.. MatrixCell.Sample, .. MatrixCell.HangSample] : [.. names.Select(MatrixCell.Parse)];
    MatrixJournal journal = MatrixJournal.Open(path, panacea.Path);
    foreach (string line in lines == "all" ? KernelPackages.Lines : [lines])
    {
        string kernel = (await GuestBuilder.GetAsync(line)).Kernel.Release;
        GuestSpec spec = MatrixRun.Spec(line) with { Cpu = cpu };
        await using var run = new MatrixRun(spec, panacea, Console.Error.WriteLine, evidence);
        var results = new List<MatrixResult>();
        foreach (MatrixCell cell in cells.Where(c => !soFar || journal.Guarded(kernel, c) is not null))
        {
            int boots = run.Boots;
            if (journal.Guarded(kernel, cell) is not { } result)
                journal.Add(kernel, result = await run.RunAsync(cell), run.Boots - boots);
            results.Add(result);
            failures += result.IsRecovered ? 0 : 1;
            Console.WriteLine(string.Create(CultureInfo.InvariantCulture,
                $"{line} {cell.Name,-34}{result.Outcome ?? "nothing",-11}{result.Repair,-14}{result.StoppedUs / 1000.0,6:0.0} ms  {(result.ProcessSurvived == true ? "alive" : "-"),-6}{result.Seconds,5:0.0} s  {string.Join("; ", result.Failures)}"));
            foreach (string step in result.Ladder)
                Console.WriteLine($"     {step}");
        }

        List<BaselineResult> without = baseline ? await BaselineAsync(spec, kernel, cells, journal, soFar) : [];
        kernels.Add(new KernelMatrix(kernel, results, journal.Boots(kernel), without));
        if (endurance > 0)
        {
            rows.Add(await new EnduranceRun(line, panacea, Console.Error.WriteLine, evidence).RunAsync(endurance));
            failures += rows[^1].Results.Count(r => !r.IsRecovered);
            Console.WriteLine(EnduranceRun.Section([rows[^1]]));
        }
    }

    if (document is not null)
        await File.WriteAllTextAsync(document, MatrixDocument.Of(kernels, rows, await HostFacts.ReadAsync((await panacea.StartColdAsync()).Version, default), DateTimeOffset.UtcNow, command));

    return failures == 0 ? 0 : 1;
}

static async Task<List<BaselineResult>> BaselineAsync(GuestSpec spec, string kernel, IReadOnlyList<MatrixCell> cells, MatrixJournal journal, bool soFar)
{
    var results = new List<BaselineResult>();
    foreach (bool panics in (bool[])[true, false])
    {
        await using var unguarded = new MatrixBaseline(spec, panics, Console.Error.WriteLine);
        foreach (MatrixCell cell in cells.Where(c => !soFar || journal.Unguarded(kernel, c, panics) is not null))
        {
            int boots = unguarded.Boots;
            if (journal.Unguarded(kernel, cell, panics) is not { } result)
                journal.Add(kernel, result = await unguarded.RunAsync(cell), unguarded.Boots - boots);
            results.Add(result);
        }
    }

    return results;
}

static async Task<int> QuietAsync(string lines, PanaceaProgram panacea, TimeSpan time)
{
    int failures = 0;
    var run = new QuietRun(panacea, Console.Error.WriteLine);
    foreach (QuietResult result in (await Task.WhenAll((lines == "all" ? KernelPackages.Lines : [lines]).Select(line => run.RunAsync(line, time)))).SelectMany(r => r))
    {
        failures += result.Alarms.Count + result.Failures.Count;
        Console.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{result.Guest}: guarded for {result.Time.TotalMinutes:0} minutes, {result.Alarms.Count} alarms{(result.Failures.Count == 0 ? ", and it lives" : "")}"));
        foreach (string what in result.Alarms.Concat(result.Failures))
            Console.WriteLine($"     {what}");
    }

    return failures == 0 ? 0 : 1;
}

static async Task SetUpAsync(string[] options)
{
    if (options.Except(["--yes", "--tests", "--debuginfo", "--refresh"]).FirstOrDefault() is string unknown)
        throw new FormatException($"unknown option {unknown}");
    bool debugInfo = options.Contains("--debuginfo");
    PrerequisiteUse use = options.Contains("--tests") ? PrerequisiteUse.Guests | PrerequisiteUse.Tests : PrerequisiteUse.Guests;
    await Prerequisites.EnsureAsync(use, options.Contains("--yes"), Ask, Console.Error.WriteLine);
    foreach (string line in KernelPackages.Lines)
    {
        KernelInstallation kernel = await KernelPackages.GetAsync(line, options.Contains("--refresh"), Console.Error.WriteLine);
        await GuestBuilder.GetAsync(line, Console.Error.WriteLine);
        Console.WriteLine($"{line}: {kernel.Release}");
        if (debugInfo)
            Console.WriteLine($"{line}: {(await DebugPackages.GetAsync(kernel, Console.Error.WriteLine)).Directory}");
    }

    if (debugInfo)
    {
        DumpReaderInstallation readers = await DumpReaders.GetAsync(Console.Error.WriteLine);
        foreach (DumpReader reader in (DumpReader[])[readers.Crash, readers.Drgn, readers.Makedumpfile])
            Console.WriteLine($"{reader.Name} {reader.Version}");
    }
}

static bool Ask(IReadOnlyList<Prerequisite> missing)
{
    Console.WriteLine("Panacea's lab needs:");
    foreach (Prerequisite p in missing)
        Console.WriteLine($"  {p.Package,-18}{p.Why}");
    if (Console.IsInputRedirected)
        return false;
    Console.Write($"Install with: {Prerequisites.InstallCommand(missing)} ? [y/N] ");
    return Console.ReadLine()?.Trim().StartsWith("y", StringComparison.OrdinalIgnoreCase) == true;
}

static async Task<int> BootAsync(GuestSpec spec, string? vmcore)
{
    using var stop = new CancellationTokenSource();
    Console.CancelKeyPress += (_, e) =>
    {
        e.Cancel = true;
        stop.Cancel();
    };
    using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
    {
        context.Cancel = true;
        stop.Cancel();
    });
    await using Guest guest = await Guest.StartAsync(spec, Console.Error.WriteLine, stop.Token);
    Console.WriteLine($"""
        kernel   {guest.Image.Kernel.Release} ({guest.Accelerator})
        pid      {guest.Pid}
        qmp      {guest.QmpPath}
        console  {guest.Console.Path}
        control  127.0.0.1:{guest.Control.Port}
        redis    127.0.0.1:{guest.RedisPort}
        vmlinux  {guest.Image.Kernel.Vmlinux}
        map      {guest.Image.Kernel.SystemMap}
        """);
    while (guest.IsRunning && !stop.IsCancellationRequested)
    {
        Task<string?> read = Task.Run(Console.In.ReadLineAsync);
        await Task.WhenAny(read, guest.Ended, Task.Delay(Timeout.Infinite, stop.Token));
        if (!read.IsCompleted)
            break;
        switch ((await read)?.Trim())
        {
            case null:
                // No terminal: stay until the guest ends or a signal comes.
                await Task.WhenAny(guest.Ended, Task.Delay(Timeout.Infinite, stop.Token));
                break;
            case "stop":
                return 0;
            case "console":
                Console.WriteLine(guest.Console.TextFrom());
                break;
            case "":
                break;
            case string command:
                try
                {
                    GuestCommandResult result = await guest.RunAsync(command, null, stop.Token);
                    Console.Write(result.Output);
                    if (!result.Succeeded)
                        Console.WriteLine($"[status {result.Status}]");
                }
                catch (Exception e) when (e is IOException or TimeoutException)
                {
                    Console.WriteLine(e.Message);
                }

                break;
        }
    }

    if (vmcore is not null && !guest.IsRunning)
        File.Move(await guest.WaitForVmcoreAsync(0, TimeSpan.FromSeconds(1)), vmcore, true);
    return 0;
}
