using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.TestKit;

namespace Panacea.GuestTests.Oracles;

/// <summary>A guest of its own that died with a deadlock in it, dumped by QEMU; what its console said; and the debug files of its kernel. Nothing is made where ./test was not asked
/// for debug packages.</summary>
public abstract class DeadDump(string line, string crash) : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();
    private readonly Dictionary<string, Task<JsonDocument>> _ours = [];
    private Task<IReadOnlyDictionary<string, string>>? _crash, _own;
    private Task<ILookup<string, string[]>>? _drgn;

    /// <summary>The ELF core, with VMCOREINFO.</summary>
    internal string Path => _directory.File("vmcore");

    /// <summary>What the guest wrote to its console from the crash on.</summary>
    internal string Console { get; private set; } = "";

    /// <summary>What crash says to each of its commands.</summary>
    internal Task<IReadOnlyDictionary<string, string>> Crash => _crash ??= CrashProgram.RunAsync(this, _directory.File("crash"));

    /// <summary>The dump of the same moment that panacea writes: filtered, an ELF core too.</summary>
    internal string OwnPath => _directory.File("own");

    /// <summary>What crash says of it.</summary>
    internal Task<IReadOnlyDictionary<string, string>> CrashOfOwn => _own ??= CrashProgram.RunAsync(this, OwnPath, _directory.File("crash-own"));

    /// <summary>What drgn says, by the first word of a line.</summary>
    internal Task<ILookup<string, string[]>> Drgn => _drgn ??= DrgnProgram.RunAsync(this);

    /// <summary>The debug files.</summary>
    internal DebugInstallation Debug { get; private set; } = null!;

    /// <summary>What <c>panacea inspect</c> says to one of its commands.</summary>
    internal Task<JsonDocument> OursAsync(string command) => _ours.TryGetValue(command, out Task<JsonDocument>? said) ? said : _ours[command] = AskAsync(command);

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        if (!Suites.DebugInfo)
            return;
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, Start = ["redis", "counter"], VmcoreInfo = true });
        Debug = await DebugPackages.GetAsync(guest.Image.Kernel);
        await guest.MustAsync("insmod /modules/crashtest_locks.ko", Limits.Guest);
        await guest.MustAsync("echo deadlock-abba-mutex > /dev/crashtest_locks", Limits.Guest);
        await guest.MustAsync("until [ $(cat /proc/[0-9]*/stat 2> /dev/null | grep -c '(lk_[ab]) D') = 2 ]; do sleep 0.05; done", Limits.Guest);
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> dying = guest.RunAsync($"echo {crash} > /dev/crashtest", Limits.Silence);
        await guest.Console.WaitForAsync("---[ end Kernel panic", Limits.Guest, mark);
        await Assert.ThrowsAnyAsync<Exception>(() => dying);
        Console = guest.Console.TextFrom(mark);
        await guest.Monitor.ExecuteAsync("stop");
        await guest.Monitor.ExecuteAsync("dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{Path}", ["format"] = "elf" });
        await PanaceaCommand.MustAsync("dump", $"pid:{guest.Pid}", OwnPath);
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        foreach (Task<JsonDocument> said in _ours.Values.Where(t => t.IsCompletedSuccessfully))
            said.Result.Dispose();
        _directory.Dispose();
        return ValueTask.CompletedTask;
    }

    private async Task<JsonDocument> AskAsync(string command) => JsonDocument.Parse(await PanaceaCommand.MustAsync(["inspect", Path, .. command.Split(' '), "--json"]));
}

/// <summary>A NULL write in a system call.</summary>
public sealed class NullWrite61() : DeadDump("6.1", "null-write");

/// <inheritdoc cref="NullWrite61"/>
public sealed class NullWrite612() : DeadDump("6.12", "null-write");

/// <summary>A call through a NULL pointer.</summary>
public sealed class NullCall61() : DeadDump("6.1", "null-call");

/// <inheritdoc cref="NullCall61"/>
public sealed class NullCall612() : DeadDump("6.12", "null-call");

/// <summary>BUG().</summary>
public sealed class Bug61() : DeadDump("6.1", "bug");

/// <inheritdoc cref="Bug61"/>
public sealed class Bug612() : DeadDump("6.12", "bug");

/// <summary>panic().</summary>
public sealed class Panic61() : DeadDump("6.1", "panic");

/// <inheritdoc cref="Panic61"/>
public sealed class Panic612() : DeadDump("6.12", "panic");
