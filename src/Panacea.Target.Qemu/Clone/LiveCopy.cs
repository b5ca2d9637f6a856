using System.Diagnostics;
using System.Globalization;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Clone;

/// <summary>A running VM's copy that lives by itself: its memory is its own. It is gone when it is disposed of, or when this process ends.</summary>
public sealed class LiveCopy : IDisposable
{
    private readonly MemoryCopy _memory;

    private LiveCopy(QemuClone clone, MemoryCopy memory) => (Clone, _memory) = (clone, memory);

    /// <summary>The copy.</summary>
    public QemuClone Clone { get; }

    /// <summary>Bytes of memory that were copied.</summary>
    public long MemoryBytes => _memory.Length;

    /// <summary>How long the original stood still for it; null where it stood already, and still does.</summary>
    public TimeSpan? Stopped { get; private init; }

    /// <summary>Makes a copy. The original is stopped for as long as copying its memory takes, and goes on if it ran before, whatever happens.</summary>
    /// <param name="spec">The original.</param>
    /// <param name="run">The copy runs; else it stands where the original stood.</param>
    /// <exception cref="TargetException">It can't be made; says why.</exception>
    public static LiveCopy Of(QemuTargetSpec spec, bool run)
    {
        using QemuView view = QemuView.Open(spec);
        CloneRecipe recipe = CloneRecipe.Of(view.Qmp, view.Pid);
        CheckRoom(MemoryCopy.SizeOf(recipe));
        bool wasRunning = view.IsRunning();
        long started = Stopwatch.GetTimestamp();
        MemoryCopy memory;
        DeviceState state;
        if (wasRunning)
            view.Qmp.Execute("stop");
        try
        {
            memory = MemoryCopy.Of(recipe);
            try
            {
                state = DeviceState.Save(view.Qmp);
            }
            catch
            {
                memory.Dispose();
                throw;
            }
        }
        finally
        {
            if (wasRunning)
                view.Qmp.Execute("cont");
        }

        TimeSpan stopped = Stopwatch.GetElapsedTime(started);
        QemuClone? clone = null;
        try
        {
            clone = QemuClone.Start(recipe with { Memory = memory.Paths, IsMemoryOwn = true }, hasConsoles: true);
            clone.Load(state);
            if (run)
            {
                using QmpClient qmp = QmpClient.Connect(clone.QmpPath);
                qmp.Execute("cont");
            }

            return new LiveCopy(clone, memory) { Stopped = wasRunning ? stopped : null };
        }
        catch
        {
            clone?.Dispose();
            memory.Dispose();
            throw;
        }
        finally
        {
            state.Dispose();
        }
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        Clone.Dispose();
        _memory.Dispose();
    }

    /// <summary>What the host has left must hold it, or its other guests would pay.</summary>
    private static void CheckRoom(long bytes)
    {
        const string name = "MemAvailable:";
        string? line = File.ReadLines("/proc/meminfo").FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal));
        if (line is not null && long.TryParse(line.AsSpan(name.Length).Trim().TrimEnd("kB").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long kib) && bytes > kib << 10)
            throw new CloneException($"a copy of this VM takes {bytes >> 20} MiB of memory, and the host has {kib >> 10} MiB left");
    }
}
