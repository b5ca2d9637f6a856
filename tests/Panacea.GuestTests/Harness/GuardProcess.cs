using System.Diagnostics;
using System.Runtime.InteropServices;
using System.Text;
using System.Text.Json;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Harness;

/// <summary>One event of <c>panacea guard --json</c>.</summary>
internal sealed record GuardEvent(string Name, JsonElement Json)
{
    public string Text(string member) => Json.GetProperty(member).GetString() ?? "";

    public string[] Texts(string member) => [.. Json.GetProperty(member).EnumerateArray().Select(e => e.GetString() ?? "")];

    public long Number(string member) => Json.GetProperty(member).GetInt64();
}

/// <summary>A running <c>panacea guard TARGET --json</c>: its events, and the ways to end it.</summary>
internal sealed partial class GuardProcess : IAsyncDisposable
{
    private const int Sigint = 2;
    private readonly Process _process;
    private readonly List<GuardEvent> _events = [];
    private readonly StringBuilder _errors = new();
    private readonly Task _pump;
    private TaskCompletionSource _changed = New();

    private GuardProcess(Process process, string records)
    {
        _process = process;
        Records = records;
        _pump = Task.WhenAll(Task.Run(ReadEventsAsync), Task.Run(ReadErrorsAsync));
    }

    /// <summary>The directory of its incident records.</summary>
    public string Records { get; }

    /// <summary>It has not ended.</summary>
    public bool IsRunning => !_process.HasExited;

    /// <summary>What it wrote on standard error.</summary>
    public string Errors
    {
        get
        {
            lock (_errors)
                return _errors.ToString();
        }
    }

    /// <summary>The number of events so far: take it before the act whose events are waited for.</summary>
    public int Mark()
    {
        lock (_events)
            return _events.Count;
    }

    /// <summary>The events from a mark on.</summary>
    public IReadOnlyList<GuardEvent> EventsFrom(int mark)
    {
        lock (_events)
            return [.. _events.Skip(mark)];
    }

    /// <summary>Starts a guard and waits until it is armed.</summary>
    public static async Task<GuardProcess> StartArmedAsync(Guest guest, params string[] options)
    {
        GuardProcess guard = Start($"qmp:{guest.QmpPath}", options);
        try
        {
            GuardEvent armed = await guard.WaitForAsync("armed");
            Assert.Equal(guest.Image.Kernel.Release, armed.Text("kernel"));
            return guard;
        }
        catch
        {
            await guard.DisposeAsync();
            throw;
        }
    }

    /// <summary>Starts a guard.</summary>
    public static GuardProcess Start(string target, params string[] options)
    {
        string records = Directory.CreateTempSubdirectory("panacea-records-").FullName;

        // A short window keeps the tests fast; what it watches for is the same. The same function crashes in many tests of one guest, and is to go on doing so.
        (string Name, string Value)[] usual = [("--health-window", "500ms"), ("--fuse", "off")];
        return new GuardProcess(
            PanaceaCommand.Start(["guard", target, "--json", "--records", records, .. usual.Where(u => !options.Contains(u.Name)).SelectMany(u => (string[])[u.Name, u.Value]), .. options]), records);
    }

    /// <summary>Waits for the first event of a name after a mark.</summary>
    public async Task<GuardEvent> WaitForAsync(string name, int mark = 0, TimeSpan? timeout = null)
    {
        TimeSpan limit = timeout ?? Limits.Event;
        long deadline = Environment.TickCount64 + (long)limit.TotalMilliseconds;
        while (true)
        {
            Task changed = _changed.Task;
            if (EventsFrom(mark).FirstOrDefault(e => e.Name == name) is { } found)
                return found;
            if (_pump.IsCompleted)
                throw new InvalidOperationException($"the guard ended before \"{name}\"; {Describe(mark)}");
            TimeSpan left = TimeSpan.FromMilliseconds(deadline - Environment.TickCount64);
            if (left <= TimeSpan.Zero)
                throw new TimeoutException($"no event \"{name}\" within {limit.TotalSeconds:0} s; {Describe(mark)}");
            await Task.WhenAny(changed, _pump, Task.Delay(left));
        }
    }

    /// <summary>Ends it as Ctrl-C does and waits for its end.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> InterruptAsync()
    {
        if (!_process.HasExited)
            _ = Kill(_process.Id, Sigint);
        return await EndAsync();
    }

    /// <summary>Ends it as <c>kill -9</c> does.</summary>
    public async Task KillAsync()
    {
        _process.Kill();
        await EndAsync();
    }

    /// <summary>Waits for its end.</summary>
    /// <returns>Its exit code.</returns>
    public async Task<int> EndAsync()
    {
        try
        {
            await _process.WaitForExitAsync().WaitAsync(Limits.Event);
            await _pump.WaitAsync(Limits.Event);
        }
        catch (TimeoutException)
        {
            throw new TimeoutException($"the guard does not end; {Describe(0)}");
        }

        return _process.ExitCode;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        if (!_process.HasExited)
        {
            _ = Kill(_process.Id, Sigint);
            try
            {
                await EndAsync();
            }
            catch (TimeoutException)
            {
                _process.Kill();
            }
        }

        _process.Dispose();
        Directory.Delete(Records, true);
    }

    private static TaskCompletionSource New() => new(TaskCreationOptions.RunContinuationsAsynchronously);

    [LibraryImport("libc", EntryPoint = "kill")]
    private static partial int Kill(int pid, int signal);

    private string Describe(int mark) => $"it said:\n{string.Join('\n', EventsFrom(mark).Select(e => e.Json.GetRawText()))}\n{Errors}";

    private async Task ReadEventsAsync()
    {
        while (await _process.StandardOutput.ReadLineAsync() is string line)
        {
            using var json = JsonDocument.Parse(line);
            lock (_events)
                _events.Add(new GuardEvent(json.RootElement.GetProperty("event").GetString() ?? "", json.RootElement.Clone()));
            Interlocked.Exchange(ref _changed, New()).SetResult();
        }
    }

    private async Task ReadErrorsAsync()
    {
        while (await _process.StandardError.ReadLineAsync() is string line)
        {
            lock (_errors)
                _errors.AppendLine(line);
        }
    }
}
