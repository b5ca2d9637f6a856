using System.Text.Json.Nodes;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>A guest as it was at one moment, from which any number of others start within a fraction of a second. Their memory is a private mapping of the one file, so that only what they write is copied;
/// the state of devices comes from a migration to a file that leaves that memory out (QEMU: x-ignore-shared). A device whose state QEMU does not migrate is as after power-on: the guest has to take it out before
/// and find it again afterwards.</summary>
public sealed class GuestSnapshot : IDisposable
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(30), Poll = TimeSpan.FromMilliseconds(10);

    private readonly GuestSpec _spec;
    private readonly GuestImage _image;
    private readonly GuestAccelerator _accelerator;
    private readonly string _directory;

    private GuestSnapshot(Guest guest)
    {
        // What such a guest writes to its memory is its own.
        (_spec, _image, _accelerator) = (guest.Spec with { Memory = GuestMemoryBacking.Private }, guest.Image, guest.Accelerator);
        _directory = LabPaths.NewRunDirectory();
    }

    /// <summary>The file with the guest's memory.</summary>
    internal string Memory => Path.Combine(_directory, "ram");

    /// <summary>The disk.</summary>
    internal string Disk => Path.Combine(_directory, "disk.img");

    private string Devices => Path.Combine(_directory, "devices");

    /// <summary>Ends a guest and keeps what it was.</summary>
    /// <param name="guest">One whose memory is <see cref="GuestMemoryBacking.SharedFile"/>; it is disposed of.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="ArgumentException">Its memory is not; nothing has happened to it.</exception>
    /// <exception cref="LabException">QEMU could not save it.</exception>
    public static async Task<GuestSnapshot> TakeAsync(Guest guest, CancellationToken cancel = default)
    {
        if (guest.MemoryFile is not { } memory)
            throw new ArgumentException("a snapshot needs a guest whose memory is a shared file", nameof(guest));
        var snapshot = new GuestSnapshot(guest);
        try
        {
            await guest.Monitor.ExecuteAsync("stop", null, cancel);
            await IgnoreSharedAsync(guest.Monitor, cancel);
            await guest.Monitor.ExecuteAsync("migrate", new JsonObject { ["uri"] = $"exec:cat > {snapshot.Devices}" }, cancel);
            await WaitAsync(guest.Monitor, "query-migrate", "completed", cancel);
            if (guest.DiskPath is { } disk)
                await CopyAsync(disk, snapshot.Disk, cancel);

            // A second name for the same file: the first goes with the guest.
            await HostCommand.MustAsync("ln", [memory, snapshot.Memory], null, cancel);
            return snapshot;
        }
        catch
        {
            snapshot.Dispose();
            throw;
        }
        finally
        {
            await guest.DisposeAsync();
        }
    }

    /// <summary>Starts a guest that goes on from the moment of the snapshot.</summary>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">QEMU could not load it.</exception>
    public Task<Guest> StartAsync(CancellationToken cancel = default) => StartAsync(true, GuestMemoryBacking.Private, cancel);

    /// <summary>Starts a guest at the moment of the snapshot.</summary>
    /// <param name="run">It goes on; else it stands there until it is told to.</param>
    /// <param name="memory">How its RAM is backed: <see cref="GuestMemoryBacking.Private"/> takes what it does not write from the snapshot, <see cref="GuestMemoryBacking.SharedFile"/> has a copy of all of it.</param>
    /// <param name="cancel">Gives up.</param>
    /// <exception cref="LabException">QEMU could not load it.</exception>
    public async Task<Guest> StartAsync(bool run, GuestMemoryBacking memory, CancellationToken cancel = default)
    {
        Guest guest = await Guest.LaunchAsync(_spec with { Memory = memory }, _image, _accelerator, this, cancel);
        try
        {
            await IgnoreSharedAsync(guest.Monitor, cancel);
            await guest.Monitor.ExecuteAsync("migrate-incoming", new JsonObject { ["uri"] = $"exec:cat {Devices}" }, cancel);
            await WaitAsync(guest.Monitor, "query-status", "paused", cancel);
            if (run)
                await guest.Monitor.ExecuteAsync("cont", null, cancel);
            return guest;
        }
        catch
        {
            await guest.DisposeAsync();
            throw;
        }
    }

    /// <summary>Files of the host that are mostly holes stay so.</summary>
    internal static Task CopyAsync(string from, string to, CancellationToken cancel) => HostCommand.MustAsync("cp", ["--sparse=always", from, to], null, cancel);

    /// <inheritdoc/>
    public void Dispose() => Directory.Delete(_directory, true);

    private static Task IgnoreSharedAsync(QmpSocket monitor, CancellationToken cancel) => monitor.ExecuteAsync(
        "migrate-set-capabilities", new JsonObject { ["capabilities"] = new JsonArray(new JsonObject { ["capability"] = "x-ignore-shared", ["state"] = true }) }, cancel);

    private static async Task WaitAsync(QmpSocket monitor, string query, string status, CancellationToken cancel)
    {
        long deadline = Environment.TickCount64 + (long)Limit.TotalMilliseconds;
        while (true)
        {
            string? now = (string?)(await monitor.ExecuteAsync(query, null, cancel))?["status"];
            if (now == status)
                return;
            if (now is "failed" or "cancelled" or "internal-error" || Environment.TickCount64 > deadline)
                throw new LabException($"QEMU says {now ?? "nothing"} to {query}, not {status}");
            await Task.Delay(Poll, cancel);
        }
    }
}
