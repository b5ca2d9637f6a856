using System.Diagnostics;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Clone;

/// <summary>
/// A copy of a VM in a QEMU of its own, cut off from the world. Its memory is a private mapping of the original's: only what the copy writes is copied, and <b>the copy is good only for as long as the original stands
/// still</b>, for it sees what the original writes. It and its files are gone when it is disposed of, or when this process ends, however that comes about.
/// </summary>
public sealed class QemuClone : IDisposable
{
    private static readonly TimeSpan StartLimit = TimeSpan.FromSeconds(20), LoadLimit = TimeSpan.FromSeconds(20);

    private readonly WatchedProcess _process;
    private QmpClient? _control;

    private QemuClone(WatchedProcess process) => _process = process;

    /// <summary>QEMU's process id.</summary>
    public int Pid => _process.Pid;

    /// <summary>Its QMP socket, which nobody is connected to.</summary>
    public string QmpPath => Path.Combine(_process.Directory, "qmp");

    /// <summary>Directory of its sockets; of its serial ports too, where they were asked for.</summary>
    public string Directory => _process.Directory;

    /// <summary>Its QEMU has ended by itself: the guest has shut down.</summary>
    public bool HasEnded => _process.HasEnded();

    /// <summary>Starts a copy that waits for the state of its devices. Nothing is asked of the original.</summary>
    /// <param name="recipe">The original.</param>
    /// <param name="hasConsoles">Its serial ports and channels are sockets in <see cref="Directory"/>; else they lead nowhere.</param>
    /// <exception cref="CloneException">No copy of such a VM can be made, or it did not start.</exception>
    public static QemuClone Start(CloneRecipe recipe, bool hasConsoles = false)
    {
        string directory = RuntimeDirectory.ForClone();
        WatchedProcess process;
        try
        {
            IReadOnlyList<string> isolation = NetworkNamespace.Prefix;
            IReadOnlyList<string> machine = CloneCommandLine.Of(recipe.Arguments, new CloneParts(recipe.Memory, recipe.IsMemoryOwn, recipe.Disks, isolation.Count > 0, hasConsoles ? directory : null));
            string[] words =
            [
                .. isolation, recipe.Program, .. machine, "-qmp", $"unix:{directory}/qmp,server=on,wait=off", "-qmp", $"unix:{directory}/control,server=on,wait=off", "-gdb", $"unix:{directory}/gdb,server=on,wait=off",
                "-incoming", "defer", "-S", "-global", "migration.send-configuration=off", "-global", "migration.store-global-state=off",
            ];
            process = WatchedProcess.Start(words[0], words[1..], directory);
        }
        catch
        {
            if (System.IO.Directory.Exists(directory))
                System.IO.Directory.Delete(directory, recursive: true);
            throw;
        }

        var clone = new QemuClone(process);
        try
        {
            clone._control = clone.Connect();
            return clone;
        }
        catch
        {
            clone.Dispose();
            throw;
        }
    }

    /// <summary>Gives it the state of the original's devices. It stands afterwards, as the original stood.</summary>
    /// <exception cref="CloneException">The state does not fit.</exception>
    public void Load(DeviceState state)
    {
        QmpClient control = _control ?? throw new InvalidOperationException("the copy has its state already");
        try
        {
            state.SendTo(control);
            long started = Stopwatch.GetTimestamp();
            while (QemuTarget.QueryRunState(control) is { Status: "inmigrate" })
            {
                if (Stopwatch.GetElapsedTime(started) > LoadLimit)
                    throw new CloneException("the copy's QEMU does not load the state of its devices in time");
                Thread.Sleep(1);
            }
        }
        catch (Exception e) when (e is TargetException and not CloneException)
        {
            string log = _process.LogTail();
            throw new CloneException($"the copy's QEMU can't load the state of its devices: {(log.Length > 0 ? log.ReplaceLineEndings("; ") : e.Message)}", e);
        }

        control.Dispose();
        _control = null;
    }

    /// <inheritdoc/>
    public void Dispose()
    {
        _control?.Dispose();
        _process.Dispose();
    }

    /// <summary>As soon as QEMU has made its sockets.</summary>
    private QmpClient Connect()
    {
        string path = Path.Combine(_process.Directory, "control");
        long started = Stopwatch.GetTimestamp();
        while (!File.Exists(path))
            Wait();
        while (true)
        {
            try
            {
                return QmpClient.Connect(path);
            }
            catch (QmpConnectionException)
            {
                // The socket has a name before it is listened to.
                Wait();
            }
        }

        void Wait()
        {
            bool late = Stopwatch.GetElapsedTime(started) > StartLimit;
            if (late || _process.HasEnded())
                throw new CloneException($"the copy's QEMU did not start: {(_process.LogTail() is { Length: > 0 } log ? log.ReplaceLineEndings("; ") : late ? "it took too long" : "it said nothing")}");
            Thread.Sleep(1);
        }
    }
}
