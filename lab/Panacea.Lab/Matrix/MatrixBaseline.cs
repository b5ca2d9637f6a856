using System.Diagnostics;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Matrix;

/// <summary>What became of a cell that nobody guarded.</summary>
/// <param name="Cell">The cell.</param>
/// <param name="PanicOnOops">The guest panics on an oops, as server fleets have it; else it goes on as far as it can.</param>
/// <param name="Panicked">The guest is dead.</param>
/// <param name="ProcessSurvived">The process that hit the crash went on; null where the context has none, or the guest is dead.</param>
/// <param name="Failures">What the guest could not do afterwards; empty where it lives.</param>
public sealed record BaselineResult(MatrixCell Cell, bool PanicOnOops, bool Panicked, bool? ProcessSurvived, IReadOnlyList<string> Failures)
{
    /// <summary>The guest lives as if nothing had happened to it.</summary>
    public bool Lives => !Panicked && Failures.Count == 0;
}

/// <summary>Runs cells on guests that nobody guards: what stock Linux makes of them. A guest that does not live after a cell is replaced, as those of <see cref="MatrixRun"/> are, here by the next one out of a
/// snapshot: nearly every cell ends one.</summary>
/// <param name="spec">The guests (<see cref="MatrixRun.Spec"/>).</param>
/// <param name="panicOnOops">The guest panics on an oops.</param>
/// <param name="progress">Told what happens.</param>
public sealed class MatrixBaseline(GuestSpec spec, bool panicOnOops, Action<string> progress) : IAsyncDisposable
{
    /// <summary>A guest that hangs answers nothing: what is not done by then never will be.</summary>
    private static readonly TimeSpan CellLimit = TimeSpan.FromSeconds(15), ProbeLimit = TimeSpan.FromSeconds(15), DeathStep = TimeSpan.FromMilliseconds(200);

    // QEMU does not migrate the device whose interrupts the driver takes.
    private const string TakeOut = "for d in /sys/bus/pci/devices/*; do [ $(cat $d/vendor)$(cat $d/device) != 0x12340x11e8 ] || echo 1 > $d/remove; done", Find = "echo 1 > /sys/bus/pci/rescan";

    private GuestSnapshot? _snapshot;
    private Guest? _guest;

    /// <summary>Guests started so far.</summary>
    public int Boots { get; private set; }

    /// <summary>Runs one cell.</summary>
    public async Task<BaselineResult> RunAsync(MatrixCell cell, CancellationToken cancel = default)
    {
        Guest guest = _guest ??= await StartAsync(cancel);
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> crash = guest.RunAsync(cell.Command, CellLimit, cancel);
        long started = Stopwatch.GetTimestamp();
        if (cell.MonitorCommand is { } outside)
        {
            await crash;
            await guest.Monitor.HumanAsync(outside, cancel);
        }

        while (!crash.IsCompleted && !IsDead(guest, mark))
            await Task.WhenAny(crash, Task.Delay(DeathStep, cancel));

        // A crash that the command only sets off comes soon after it.
        for (int look = 0; look < 5 && crash.IsCompleted && !IsDead(guest, mark); look++)
            await Task.Delay(DeathStep, cancel);
        bool panicked = IsDead(guest, mark);
        _ = crash.ContinueWith(c => _ = c.Exception, CancellationToken.None, TaskContinuationOptions.OnlyOnFaulted | TaskContinuationOptions.ExecuteSynchronously, TaskScheduler.Default);
        var failures = new List<string>();
        bool? survived = null;
        if (!panicked)
        {
            if (crash.IsCompletedSuccessfully)
                survived = cell.HasProcess ? (await crash).Status < 128 : null;
            else
                failures.Add("the command never came back");

            // A guest that has already failed is not asked what else it can't do: that takes half a minute where a CPU hangs, in a hundred cells of each kernel.
            if (failures.Count == 0)
                failures.AddRange(await CellProbe.RunAsync(guest, cell.LeavesSleeper, ProbeLimit, cancel));
            panicked = IsDead(guest, mark);
        }

        progress($"{spec.Line} {cell.Name} unguarded, panic_on_oops={(panicOnOops ? 1 : 0)}: {(panicked ? "dead" : failures.Count == 0 ? "lives" : failures[0])} ({Stopwatch.GetElapsedTime(started).TotalSeconds:0} s)");
        if (panicked || failures.Count > 0)
            await EndAsync();
        return new BaselineResult(cell, panicOnOops, panicked, survived, failures);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await EndAsync();
        _snapshot?.Dispose();
    }

    private static bool IsDead(Guest guest, long mark) => guest.Console.TextFrom(mark).Contains("Kernel panic - not syncing", StringComparison.Ordinal);

    private async Task<Guest> StartAsync(CancellationToken cancel)
    {
        if (_snapshot is null)
        {
            Guest booted = await Guest.StartAsync(spec with { PanicOnOops = panicOnOops, Memory = GuestMemoryBacking.SharedFile }, progress, cancel);
            await MustAsync(booted, $"{MatrixCell.SetUp}; {TakeOut}", cancel);
            _snapshot = await GuestSnapshot.TakeAsync(booted, cancel);
        }

        Boots++;
        Guest guest = await _snapshot.StartAsync(cancel);
        await MustAsync(guest, Find, cancel);
        return guest;
    }

    private static async Task MustAsync(Guest guest, string command, CancellationToken cancel)
    {
        try
        {
            if (await guest.RunAsync(command, ProbeLimit, cancel) is { Succeeded: false } failed)
                throw new LabException($"the guest can't be made ready for the driver: {failed.Output.Trim()}");
        }
        catch
        {
            await guest.DisposeAsync();
            throw;
        }
    }

    private async Task EndAsync()
    {
        if (_guest is { } guest)
            await guest.DisposeAsync();
        _guest = null;
    }
}
