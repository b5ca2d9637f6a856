using System.Diagnostics;
using System.Globalization;
using Panacea.Lab.Guests;
using Panacea.Lab.Tour;

namespace Panacea.Lab.Bench.Scale;

/// <summary>The stop at a crash, the repair image and the guard, with guests of which one thing is made larger, and with many guests in one guard.</summary>
/// <param name="options">What to measure.</param>
/// <param name="progress">Where it shows that it goes on.</param>
public sealed class ScaleBench(BenchOptions options, ProgressLine progress)
{
    private const string Crash = "echo null-write > /dev/crashtest";

    /// <summary>A process that writes and fsyncs without a pause: then somebody always sleeps uninterruptibly, and a guard has to look at the tasks.</summary>
    private const string Writes = "recorder /data/scale > /dev/null 2>&1 < /dev/null &";

    private const int ImageBuilds = 3, RoomyMiB = 4096, SmallMiB = 256, BootsAtOnce = 2;

    /// <summary>What a small idle guest and its QEMU take on the host at most; the host keeps as much for itself as two dozen of them.</summary>
    private const long HostBytesEach = 400L << 20, HostBytesLeft = 4L << 30;

    private static readonly TimeSpan Limit = TimeSpan.FromMinutes(1), GrowLimit = TimeSpan.FromMinutes(10), BootLimit = TimeSpan.FromMinutes(8), Settle = TimeSpan.FromSeconds(2);

    /// <summary>Measures.</summary>
    /// <exception cref="LabException">The lab could not be set up, or a guest does not boot.</exception>
    public async Task<ScaleReport> RunAsync(CancellationToken cancel = default)
    {
        BenchHost host = await BenchStart.PrepareAsync(options, progress, cancel);
        var guests = new List<ScaleFigures>();
        var vms = new List<VmsFigures>();
        foreach (string line in options.Lines)
        {
            // Sparse: most of it is never touched, and a memfd does not have to be there before it is.
            foreach (int memory in options.Sizes.MemoryMiB)
                guests.AddRange(await GuestAsync(new GuestSpec { Line = line, MemoryMiB = memory, Memory = GuestMemoryBacking.SharedMemfd }, "memory", [memory], null, cancel));
            guests.AddRange(await GuestAsync(new GuestSpec { Line = line, MemoryMiB = RoomyMiB }, "tasks", options.Sizes.Tasks, MoreTasks, cancel, Writes));
            guests.AddRange(await GuestAsync(new GuestSpec { Line = line }, "modules", options.Sizes.Modules, MoreModules, cancel));
            foreach (int count in options.Sizes.Vcpus)
                guests.AddRange(await GuestAsync(new GuestSpec { Line = line, Vcpus = count }, "vcpus", [count], null, cancel));
            vms.AddRange(await VmsAsync(line, cancel));
        }

        return new ScaleReport { At = DateTimeOffset.UtcNow, Command = CommandLine(), Host = host, Guests = guests, Vms = vms };
    }

    private string CommandLine()
    {
        string[] only = [.. ScaleSizes.Names.Where(n => options.Sizes.Only([n]) is var one && one.MemoryMiB.Count + one.Tasks.Count + one.Modules.Count + one.Vcpus.Count + one.Vms.Count > 0)];
        return string.Create(
            CultureInfo.InvariantCulture,
            $"./panacea bench scale --crashes {options.Crashes} --kernels {string.Join(',', options.Lines)}{(only.Length < ScaleSizes.Names.Count ? $" --only {string.Join(',', only)}" : "")} --update-docs");
    }

    /// <summary>Measures one guest, at one size after the other.</summary>
    /// <param name="spec">The guest.</param>
    /// <param name="what">What is made larger.</param>
    /// <param name="sizes">The sizes, each larger than the one before; none, and there is no guest.</param>
    /// <param name="grow">The command that makes it larger, from one size to the next; null where it is as it was booted.</param>
    /// <param name="cancel">Gives up.</param>
    /// <param name="work">What the guest does meanwhile; null for nothing.</param>
    private async Task<IReadOnlyList<ScaleFigures>> GuestAsync(GuestSpec spec, string what, IReadOnlyList<int> sizes, Func<int, int, string>? grow, CancellationToken cancel, string? work = null)
    {
        var figures = new List<ScaleFigures>();
        if (sizes.Count == 0)
            return figures;
        string named = $"{spec.Line}: {what} {sizes[0]}";
        await using Guest guest = await progress.DuringAsync($"{named}: booting", report => Guest.StartAsync(spec with { BootTimeout = BootLimit }, report, cancel));
        if (work is not null)
            await guest.RunAsync(work, Limit, cancel);
        int before = 0;
        foreach (int size in sizes)
        {
            if (grow is not null)
            {
                string command = grow(before, size);
                GuestCommandResult grown = await progress.DuringAsync($"{spec.Line}: {what}, from {before} to {size}", _ => guest.RunAsync(command, GrowLimit, cancel));
                if (!grown.Succeeded)
                {
                    figures.Add(new ScaleFigures(spec.Line, what, size, null, 0, null, null, null, null, null, [$"the guest can't be made as large: {grown.Output.Trim()}"]));
                    break;
                }
            }

            before = size;
            figures.Add(await progress.DuringAsync($"{spec.Line}: {what} {size}", report => MeasureAsync(guest, what, size, report, cancel)));
        }

        return figures;
    }

    private async Task<ScaleFigures> MeasureAsync(Guest guest, string what, int size, Action<string> report, CancellationToken cancel)
    {
        string line = guest.Spec.Line, target = $"qmp:{guest.QmpPath}", named = $"{line}: {what} {size}";
        var builds = new List<long>();
        var stopped = new List<long>();
        var reports = new List<long>();
        var failures = new List<string>();
        long bytes = 0;
        long? armed = null;
        GuardFootprint? footprint = null;
        try
        {
            report($"{named}: building the repair image");
            for (int i = 0; i < ImageBuilds; i++)
            {
                BuiltImage image = await options.Panacea.BuildImageAsync(target, Path.Combine(guest.RunDirectory, "bench.rimg"), cancel);
                bytes = image.Bytes;
                builds.AddRange(image.BuildUs is { } us ? [us] : Array.Empty<long>());
            }

            await using GuardProcess guard = await GuardProcess.StartAsync(options.Panacea, target, guest.RunDirectory, options.HealthWindow, cancel);
            armed = guard.Armed.StoppedUs;
            report($"{named}: watching the guard");
            await Task.Delay(Settle, cancel);
            footprint = await GuardFootprint.WatchAsync(guard, options.Idle, cancel);
            for (int i = 0; i < options.Crashes; i++)
            {
                report($"{named}: crash {i + 1} of {options.Crashes}");
                Add(await MeasuredCrash.MakeAsync(guest, guard, Crash, Limit, cancel), stopped, reports, failures);
            }
        }
        catch (Exception e) when (e is TimeoutException or IOException or LabException)
        {
            failures.Add(e.Message);
        }

        return new ScaleFigures(
            line, what, size, builds.Count > 0 ? Figures.Of(builds) : null, bytes, armed, stopped.Count > 0 ? stopped[0] : null, stopped.Count > 0 ? Figures.Of(stopped) : null, reports.Count > 0 ? Figures.Of(reports) : null,
            footprint, failures);
    }

    private async Task<IReadOnlyList<VmsFigures>> VmsAsync(string line, CancellationToken cancel)
    {
        int room = (int)Math.Max(1, (HostMemory.Available() - HostBytesLeft) / HostBytesEach);
        int[] counts = [.. options.Sizes.Vms.Select(n => Math.Min(n, room)).Distinct()];
        var figures = new List<VmsFigures>();
        var guests = new List<Guest>();
        try
        {
            // Booted each by itself: copies of one would share what guests of different owners don't.
            while (guests.Count < counts.DefaultIfEmpty().Max())
            {
                Task<Guest> One() => Guest.StartAsync(new GuestSpec { Line = line, MemoryMiB = SmallMiB, Vcpus = 1, DiskMiB = 0 }, null, cancel);
                Task<Guest>[] some = [.. Enumerable.Range(0, Math.Min(BootsAtOnce, counts.Max() - guests.Count)).Select(_ => One())];
                await progress.DuringAsync($"{line}: booting guest {guests.Count + 1} of {counts.Max()}", async _ =>
                {
                    await Task.WhenAny(Task.WhenAll(some));
                    guests.AddRange(some.Where(t => t.IsCompletedSuccessfully).Select(t => t.Result));
                    await Task.WhenAll(some);
                    return true;
                });
            }

            foreach (int count in counts)
                figures.Add(await progress.DuringAsync($"{line}: {count} VMs in one guard", _ => VmsAsync(line, guests[..count], cancel)));
        }
        finally
        {
            foreach (Guest guest in guests)
                await guest.DisposeAsync();
        }

        return figures;
    }

    private async Task<VmsFigures> VmsAsync(string line, IReadOnlyList<Guest> guests, CancellationToken cancel)
    {
        var stopped = new List<long>();
        var failures = new List<string>();
        double? armed = null;
        GuardFootprint? footprint = null;
        try
        {
            long started = Stopwatch.GetTimestamp();
            await using GuardProcess guard = await GuardProcess.StartAsync(
                options.Panacea, [.. guests.Select(g => $"qmp:{g.QmpPath}")], guests[0].RunDirectory, GuardProcess.OptionsFor(options.HealthWindow), cancel);
            armed = Stopwatch.GetElapsedTime(started).TotalMicroseconds;
            await Task.Delay(Settle, cancel);
            footprint = await GuardFootprint.WatchAsync(guard, options.Idle, cancel);
            for (int i = 0; i < options.Crashes; i++)
            {
                // The last one first, which the guard reached last.
                Guest guest = guests[^((i % guests.Count) + 1)];
                MeasuredCrash crash = await MeasuredCrash.MakeAsync(guest, guard, Crash, Limit, cancel);
                if (crash.Incident.Vm?.EndsWith(guest.QmpPath, StringComparison.Ordinal) != true)
                    failures.Add($"{guest.QmpPath} crashed, the guard speaks of {crash.Incident.Vm}");
                Add(crash, stopped, [], failures);
            }
        }
        catch (Exception e) when (e is TimeoutException or IOException or LabException)
        {
            failures.Add(e.Message);
        }

        return new VmsFigures(line, guests.Count, armed, footprint, stopped.Count > 0 ? Figures.Of(stopped) : null, failures);
    }

    private static void Add(MeasuredCrash crash, List<long> stopped, List<long> reports, List<string> failures)
    {
        if (!crash.IsRecovered)
        {
            failures.Add(crash.Failure);
            return;
        }

        stopped.Add(crash.Incident.StoppedUs!.Value);
        if (crash.MachineReadUs is { } read)
            reports.Add(read);
    }

    /// <summary>The guest's own limits are raised first: they follow from its memory.</summary>
    private static string MoreTasks(int before, int size) => string.Create(
        CultureInfo.InvariantCulture,
        $"echo 120000 > /proc/sys/kernel/threads-max; rm -f /run/sleepers; sleepers {size - before} > /run/sleepers 2>&1 < /dev/null & while [ ! -s /run/sleepers ]; do usleep 100000; done; grep -q ready /run/sleepers || {{ cat /run/sleepers; exit 1; }}");

    /// <summary>One module under many names of the same length.</summary>
    private static string MoreModules(int before, int size) => string.Create(
        CultureInfo.InvariantCulture,
        $"for i in $(seq {before + 1} {size}); do n=$(printf %03d $i); sed s/crashtest_extra/crashtest_ex$n/g /modules/crashtest_extra.ko > /tmp/more.ko && insmod /tmp/more.ko || exit 1; done");
}
