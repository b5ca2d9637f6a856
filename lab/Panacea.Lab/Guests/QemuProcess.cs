using System.Diagnostics;
using System.Globalization;
using System.Net.Sockets;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>One QEMU. It is killed when this process ends, however that comes about: a watcher between the two sees its pipe close.</summary>
internal sealed class QemuProcess : IAsyncDisposable
{
    // $0: the log. Prints QEMU's pid, kills it at the end of standard input, exits with its status.
    private const string Watcher = """
        exec 3<&0
        "$@" < /dev/null > "$0" 2>&1 3<&- &
        qemu=$!
        exec 2> /dev/null
        echo $qemu
        { cat <&3 > /dev/null; kill -9 $qemu; } > /dev/null &
        watcher=$!
        exec 3<&-
        wait $qemu
        status=$?
        kill $watcher
        exit $status
        """;

    private readonly Process _watcher;
    private readonly string _log;

    private QemuProcess(Process watcher, int pid, string log)
    {
        _watcher = watcher;
        _log = log;
        Pid = pid;
        Ended = watcher.WaitForExitAsync();
    }

    public int Pid { get; }

    public Task Ended { get; }

    public static async Task<QemuProcess> StartAsync(IReadOnlyList<string> arguments, string directory, CancellationToken cancel)
    {
        string qemu = HostCommand.Find("qemu-system-x86_64") ?? throw new LabException("qemu-system-x86_64 is not installed (package qemu-system-x86)");
        string log = Path.Combine(directory, "qemu.log");
        var start = new ProcessStartInfo("/bin/sh", ["-c", Watcher, log, qemu, .. arguments]) { RedirectStandardInput = true, RedirectStandardOutput = true };
        Process watcher = Process.Start(start) ?? throw new LabException("/bin/sh did not start");
        string? pid = await watcher.StandardOutput.ReadLineAsync(cancel);
        return new QemuProcess(watcher, int.Parse(pid ?? "0", CultureInfo.InvariantCulture), log);
    }

    /// <summary>Connects to a monitor socket as soon as QEMU has made it.</summary>
    public async Task<QmpSocket> ConnectAsync(string path, CancellationToken cancel)
    {
        long deadline = Environment.TickCount64 + 30_000;
        while (true)
        {
            try
            {
                return await QmpSocket.ConnectAsync(path, cancel);
            }
            catch (SocketException e)
            {
                if (Ended.IsCompleted || Environment.TickCount64 > deadline)
                    throw new LabException($"QEMU did not start: {LogTail()}", e);
                await Task.Delay(20, cancel);
            }
        }
    }

    public string LogTail()
    {
        string text = File.Exists(_log) ? File.ReadAllText(_log).Trim() : "";
        return text[Math.Max(0, text.Length - 1000)..];
    }

    public async ValueTask DisposeAsync()
    {
        _watcher.StandardInput.Close();
        await Ended;
        _watcher.Dispose();
    }
}
