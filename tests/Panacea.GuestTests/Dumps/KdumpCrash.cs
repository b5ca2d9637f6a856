using System.Text.Json;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.TestKit;

namespace Panacea.GuestTests.Dumps;

/// <summary>A guest that died into its crash kernel, and what that stored of it. One of its CPUs has never been online and saves nothing, so that a note's place in the dump is not its CPU's number; another
/// one is at work in the kernel.</summary>
public sealed class KdumpCrash : IDisposable
{
    /// <summary>The CPU that is at work.</summary>
    public const int Busy = 0;

    /// <summary>The CPU that dies.</summary>
    public const int Dead = 2;

    /// <summary>What keeps that CPU at work, or one of its own kernel threads that came in between.</summary>
    private const string BusyTask = "^(dd|[a-z_]+/0(:.*)?|rcu_[a-z_]+)$";

    private const int CrashKernelMiB = 128, MemoryMiB = 384;
    private readonly TemporaryDirectory _directory = new();

    private KdumpCrash()
    {
    }

    /// <summary>The copy of /proc/vmcore.</summary>
    public string Vmcore => _directory.File("vmcore");

    /// <summary>What the guest wrote to its console from before the crash on, as far as the crash kernel's first words.</summary>
    public string Console { get; private set; } = "";

    /// <summary>A file with all that is on its console: the boot before it, and that of the crash kernel behind it.</summary>
    public string ConsoleFile => _directory.File("console.log");

    /// <summary>A path for another dump.</summary>
    public string File(string name) => _directory.File(name);

    /// <summary>Lets a guest die.</summary>
    /// <param name="line">Its kernel line.</param>
    /// <param name="command">What kills it, run on the CPU that is to die.</param>
    /// <param name="fileLoad">The crash kernel is loaded by kexec_file_load.</param>
    public static async Task<KdumpCrash> MakeAsync(string line, string command, bool fileLoad)
    {
        await Prerequisites.EnsureAsync(PrerequisiteUse.Guests | PrerequisiteUse.Tests, assumeYes: Environment.GetEnvironmentVariable("CI") is "true");
        var made = new KdumpCrash();
        try
        {
            await using Guest guest = await Guest.StartAsync(
                new GuestSpec { Line = line, Vcpus = 3, MemoryMiB = MemoryMiB, CrashKernelMiB = CrashKernelMiB, KexecFileLoad = fileLoad, DiskMiB = 16, KernelParameters = "maxcpus=1" });
            Assert.DoesNotContain("no crash kernel", guest.Console.TextFrom(), StringComparison.Ordinal);
            await guest.MustAsync($"echo 1 > /sys/devices/system/cpu/cpu{Dead}/online", Limits.Guest);
            await guest.MustAsync($"taskset -c {Busy} dd if=/dev/zero of=/dev/null bs=16M > /dev/null 2>&1 &", Limits.Guest);
            long mark = guest.Console.Mark();
            Task<GuestCommandResult> dying = guest.RunAsync($"taskset -c {Dead} sh -c '{command}'", 2 * Limits.Guest);
            string vmcore = await guest.WaitForVmcoreAsync(mark, 2 * Limits.Guest);
            await Assert.ThrowsAnyAsync<Exception>(() => dying);
            System.IO.File.Move(vmcore, made.Vmcore);
            string console = guest.Console.TextFrom(mark);
            made.Console = console[..console.IndexOf("Linux version ", StringComparison.Ordinal)];
            await System.IO.File.WriteAllTextAsync(made.ConsoleFile, guest.Console.TextFrom());
            return made;
        }
        catch
        {
            made.Dispose();
            throw;
        }
    }

    /// <summary>Everything that is said of the crash from a dump is what its console says, and each CPU's registers are that CPU's.</summary>
    /// <param name="files">The files of the dump.</param>
    /// <param name="all">The dump has all that the kernel used: nothing but what was left out on purpose may be missing.</param>
    public async Task AssertToldAsync(IReadOnlyList<string> files, bool all)
    {
        string source = string.Join(',', files);
        using JsonDocument log = await LogAsync();
        using JsonDocument told = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", source, "--json"));
        JsonElement says = log.RootElement.GetProperty("reports")[log.RootElement.GetProperty("first").GetInt32()], report = told.RootElement, crash = report.GetProperty("crash");
        Assert.Empty(JsonSchema.Load("diagnosis.schema.json").Validate(report));
        Assert.True(crash.ValueKind == JsonValueKind.Object, $"{source}: {report.GetProperty("why_no_crash").GetString()}");
        foreach (string member in (string[])["title", "bucket", "kind", "context"])
            Assert.Equal(says.GetProperty(member).GetString(), crash.GetProperty(member).GetString());
        Assert.Equal((Dead, Dead), (says.GetProperty("cpu").GetInt32(), crash.GetProperty("vcpu").GetInt32()));

        // A panic's own trace begins within the printing of it.
        KernelTrace kernel = KernelTrace.Parse(Console);
        if (kernel.Instruction.Length > 0)
            Assert.Equal([kernel.Instruction, .. kernel.Calls], KernelTrace.FramesOf(crash));

        Dictionary<int, JsonElement> cpus = report.GetProperty("cpus").EnumerateArray().ToDictionary(c => c.GetProperty("cpu").GetInt32());
        Assert.Equal([Busy, Dead], cpus.Keys.Order());
        Assert.DoesNotContain(report.GetProperty("missing").EnumerateArray(), m => m.GetString()!.Contains("saved", StringComparison.Ordinal));
        if (!all)
            return;
        Assert.Equal(says.GetProperty("comm").GetString(), crash.GetProperty("task").GetProperty("comm").GetString());
        Assert.Equal(says.GetProperty("pid").GetInt32(), crash.GetProperty("task").GetProperty("pid").GetInt32());
        Assert.Matches(BusyTask, cpus[Busy].GetProperty("task").GetProperty("comm").GetString());
        if (!cpus[Busy].GetProperty("is_user_mode").GetBoolean())
            Assert.Equal("user", cpus[Busy].GetProperty("stack_ends").GetString() ?? "user");
        await AssertInspectedAsync(source, says.GetProperty("pid").GetInt32());
    }

    /// <summary>What the console says of it. Where the crash kernel was faster than the console, that has to be said, and the log in the dead kernel's memory has what was lost.</summary>
    private async Task<JsonDocument> LogAsync()
    {
        JsonDocument log = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", ConsoleFile, "--json"));
        Assert.Empty(JsonSchema.Load("log-diagnosis.schema.json").Validate(log.RootElement));
        Assert.Equal([false, true], log.RootElement.GetProperty("boots").EnumerateArray().Select(b => b.GetProperty("is_crash_kernel").GetBoolean()));
        bool hasReport = log.RootElement.GetProperty("first").ValueKind != JsonValueKind.Null, isSilent = log.RootElement.GetProperty("unavailable").EnumerateArray().Any(u => u.GetString()!.StartsWith("the report of the kernel that died", StringComparison.Ordinal));
        Assert.NotEqual(hasReport, isSilent);
        if (hasReport)
            return log;
        log.Dispose();
        await Makedumpfile.ReadLogAsync(Vmcore, File("dmesg.log"));
        return JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", File("dmesg.log"), "--json"));
    }

    private async Task AssertInspectedAsync(string source, int pid)
    {
        using JsonDocument all = JsonDocument.Parse(await PanaceaCommand.MustAsync("inspect", source, "bt", "--all", "--json"));
        Dictionary<int, JsonElement> running = all.RootElement.EnumerateArray().Where(t => t.GetProperty("vcpu").ValueKind == JsonValueKind.Number).ToDictionary(t => t.GetProperty("cpu").GetInt32());
        Assert.Equal([Busy, Dead], running.Keys.Order());
        Assert.Matches(BusyTask, running[Busy].GetProperty("comm").GetString());
        Assert.Equal("sh", running[Dead].GetProperty("comm").GetString());
        Assert.Equal(pid, running[Dead].GetProperty("pid").GetInt32());
        Assert.All(all.RootElement.EnumerateArray(), t => Assert.True(t.GetProperty("user_mode").GetBoolean() || t.GetProperty("frames").GetArrayLength() > 0 || t.GetProperty("ends").GetString() is { }, t.ToString()));
        using JsonDocument ps = JsonDocument.Parse(await PanaceaCommand.MustAsync("inspect", source, "ps", "--json"));
        Assert.Contains(ps.RootElement.EnumerateArray(), t => t.GetProperty("pid").GetInt32() == 1 && t.GetProperty("comm").GetString() == "init");
        Assert.Contains(ps.RootElement.EnumerateArray(), t => t.GetProperty("pid").GetInt32() == pid);
    }

    /// <inheritdoc/>
    public void Dispose() => _directory.Dispose();
}
