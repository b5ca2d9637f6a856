using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.Formats;
using Panacea.Formats.Dwarf;
using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;
using Panacea.TestKit;

namespace Panacea.GuestTests.Dumps;

/// <summary>Source lines and inlined functions of the kernels' debug packages, against what addr2line says of the same addresses.</summary>
public abstract class DebugInfoTests(SharedGuest shared, string line)
{
    private const int Addresses = 1500, Seed = 61;

    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Lines_of_the_kernel_and_of_modules_are_those_of_addr2line()
    {
        DebugInstallation files = await InstalledAsync();
        string[] modules = Directory.GetFiles(files.Modules, "*.ko", SearchOption.AllDirectories);
        Assert.NotEmpty(modules);
        foreach (string path in (string[])[files.Vmlinux, .. modules])
        {
            using var bytes = new FileDumpBytes(path);
            Assert.True(DebugFile.TryOpen(bytes, FormatLimits.Default, out DebugFile debug, out string whyNot), whyNot);
            using (debug)
            {
                Assert.True(ElfObject.TryRead(bytes, FormatLimits.Default, out ElfObject elf, out whyNot), whyNot);
                ElfSection text = elf.Find(".text")!;
                var random = new Random(Seed);
                ulong[] offsets = [.. Enumerable.Range(0, debug.IsRelocatable ? Addresses / 10 : Addresses).Select(_ => (ulong)random.NextInt64((long)text.Size)).Order()];
                var says = Compiled.AddressesToLines(path, [.. offsets.Select(o => debug.IsRelocatable ? o : text.Address + o)], debug.IsRelocatable ? ".text" : null);
                Assert.True(says is not null, "no addr2line");
                int compared = 0;
                for (int i = 0; i < offsets.Length; i++)
                {
                    // Padding, and assembly, are of no function: addr2line then guesses by symbols. Of the functions that tracepoints make it gives a file of its own choice with the header's
                    // line (binutils 2.40); elfutils agrees with ours.
                    if (!debug.TryLocate(text.Address + offsets[i], out SourcePlace place, out _) || place.Function is not { } function || IsOfTracepoint(function))
                        continue;
                    Assert.Equal([.. says[i].Select(s => (s.Function, Short(s.Place)))], Said(place));
                    compared++;
                }

                Assert.True(compared > offsets.Length / 3, $"{path}: {compared} of {offsets.Length} compared");
            }
        }
    }

    /// <summary>From a dead guest, its dump and its console to lines, at the addresses where the guest's own symbols say that its kernel lies.</summary>
    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task Frames_of_a_crash_have_the_lines_of_addr2line()
    {
        DebugInstallation files = await InstalledAsync();
        using var directory = new TemporaryDirectory();
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [], PanicTimeout = 0 });
        await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict");
        ulong text = Hex((await guest.MustAsync("grep ' _text$' /proc/kallsyms", Limits.Guest)).Split(' ')[0]);
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> dying = guest.RunAsync("echo null-write > /dev/crashtest", TimeSpan.FromSeconds(5));
        await guest.Console.WaitForAsync("end Kernel panic - not syncing: Fatal exception", Limits.Guest, mark);
        await Assert.ThrowsAnyAsync<Exception>(() => dying);
        await guest.Monitor.ExecuteAsync("dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{directory.File("elf")}", ["format"] = "elf" });
        await File.WriteAllTextAsync(directory.File("console.log"), guest.Console.TextFrom(0));

        string symbol = (await HostCommand.MustAsync("nm", [files.Vmlinux], null, TestContext.Current.CancellationToken)).Split('\n').First(l => l.EndsWith(" _text", StringComparison.Ordinal));
        ulong moved = text - Hex(symbol.Split(' ')[0]);
        var lines = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string source in (string[])[directory.File("elf"), $"pid:{guest.Pid}"])
        {
            using JsonDocument report = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", source, "--json", "--debuginfo", files.Root));
            Assert.Equal("build-id", report.RootElement.GetProperty("debug_files").EnumerateArray().First(f => f.GetProperty("module").ValueKind == JsonValueKind.Null).GetProperty("matched_by").GetString());
            JsonElement[] frames = [.. report.RootElement.GetProperty("crash").GetProperty("stack").EnumerateArray()
                .Concat(report.RootElement.GetProperty("cpus").EnumerateArray().SelectMany(c => c.GetProperty("stack").EnumerateArray()))
                .Where(f => f.GetProperty("location").GetProperty("module").ValueKind == JsonValueKind.Null && f.GetProperty("location").GetProperty("source").ValueKind != JsonValueKind.Null)];
            Assert.True(frames.Length > 10, $"{source}: {frames.Length} frames with lines");
            var says = Compiled.AddressesToLines(files.Vmlinux, [.. frames.Select(f => f.GetProperty("location").GetProperty("address").GetUInt64() - moved - (f.GetProperty("is_trap").GetBoolean() ? 0UL : 1))]);
            for (int i = 0; i < frames.Length; i++)
            {
                JsonElement location = frames[i].GetProperty("location");
                List<string> ours = [.. location.GetProperty("inlined").EnumerateArray().Select(c => Short(c.GetProperty("source"))), Short(location.GetProperty("source"))];
                Assert.Equal([.. says![i].Select(s => Short(s.Place))], ours);
                lines[$"{location.GetProperty("function").GetString()}+0x{location.GetProperty("offset").GetUInt64():x}"] = ours[^1];
            }
        }

        // The console names the same places by function and offset.
        using JsonDocument log = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", directory.File("console.log"), "--json", "--debuginfo", files.Vmlinux));
        Assert.Equal("banner", log.RootElement.GetProperty("debug_files")[0].GetProperty("matched_by").GetString());
        int same = 0;
        foreach (JsonElement entry in log.RootElement.GetProperty("reports").EnumerateArray().SelectMany(r => r.GetProperty("stack").EnumerateArray()))
        {
            JsonElement location = entry.GetProperty("location");
            if (location.GetProperty("source").ValueKind != JsonValueKind.Null && lines.TryGetValue($"{location.GetProperty("function").GetString()}+0x{location.GetProperty("offset").GetUInt64():x}", out string? known))
            {
                Assert.Equal(known, Short(location.GetProperty("source")));
                same++;
            }
        }

        Assert.True(same >= 4, $"{same} frames of the console are those of the dump");
    }

    private static async Task<DebugInstallation> InstalledAsync(string line) => await DebugPackages.GetAsync(await KernelPackages.GetAsync(line, false, _ => { }), _ => { });

    private Task<DebugInstallation> InstalledAsync() => InstalledAsync(line);

    private static bool IsOfTracepoint(string function) => ((string[])["__traceiter_", "__probestub_", "perf_trace_", "trace_event_raw_event_", "trace_raw_output_", "__bpf_trace_"]).Any(p => function.StartsWith(p, StringComparison.Ordinal));

    private static List<(string Function, string Place)> Said(SourcePlace place) =>
        [.. place.Inlined.Select(c => (c.Function!, Short(c.Source?.ToString() ?? "??:0"))), (place.Function!, Short(place.Source?.ToString() ?? "??:0"))];

    private static string Short(JsonElement source) =>
        source.ValueKind == JsonValueKind.Null ? "??:0" : Short(string.Create(CultureInfo.InvariantCulture, $"{source.GetProperty("file").GetString()}:{source.GetProperty("line").GetInt32()}"));

    /// <summary>The name of the file and the line: directories are written in several ways.</summary>
    private static string Short(string place) => place[(place.LastIndexOf('/') + 1)..];

    private static ulong Hex(string text) => ulong.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class DebugInfoTests61(Guest61 guest) : DebugInfoTests(guest, "6.1");

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class DebugInfoTests612(Guest612 guest) : DebugInfoTests(guest, "6.12");
