using System.Globalization;
using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.Formats;
using Panacea.Formats.Elf;
using Panacea.Formats.Vmcore;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;
using Panacea.TestKit;

namespace Panacea.GuestTests.Dumps;

/// <summary>
/// Source lines of frames in modules, from a dying guest to the report. A module is a relocatable object: each of its sections begins at 0 in its file, and the guest puts each elsewhere. Where it
/// put them is asked of the guest, and what is there of addr2line.
/// </summary>
public abstract class ModuleSourceTests(SharedGuest shared)
{
    private static readonly string[] Modules = ["crashtest", "crashtest_matrix", "crashtest_init"];

    [Fact]
    public async Task Frames_of_modules_have_the_lines_of_addr2line()
    {
        using var directory = new TemporaryDirectory();
        await using Guest guest = await Guest.StartAsync(shared.Spec with { Start = [], PanicTimeout = 0 });
        string debug = guest.Image.ModuleDebug;

        // One module sleeps in its init function, which the kernel would free behind it, for a lock that it holds; another one dies.
        await guest.MustAsync("insmod /modules/crashtest_matrix.ko", Limits.Guest);
        await guest.MustAsync("insmod /modules/crashtest_init.ko cause=mutex-twice > /dev/null 2>&1 &", Limits.Guest);
        await guest.MustAsync("until grep -q '^State:.*D' $(grep -l '^Name:.*insmod' /proc/[0-9]*/status); do usleep 20000; done", Limits.Guest);
        Dictionary<(string Module, string Section), ulong> places = await PlacesAsync(guest);
        long mark = guest.Console.Mark();
        Task<GuestCommandResult> dying = guest.RunAsync("echo panic > /dev/crashtest", TimeSpan.FromSeconds(5));
        await guest.Console.WaitForAsync("end Kernel panic - not syncing: crashtest", Limits.Guest, mark);
        await Assert.ThrowsAnyAsync<Exception>(() => dying);
        await guest.Monitor.ExecuteAsync("dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{directory.File("elf")}", ["format"] = "elf" });
        await File.WriteAllTextAsync(directory.File("console.log"), guest.Console.TextFrom());

        var lines = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (string source in (string[])[directory.File("elf"), $"pid:{guest.Pid}"])
        {
            using JsonDocument report = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", source, "--json", "--debuginfo", debug));
            Assert.Equal(Modules.Order(), report.RootElement.GetProperty("debug_files").EnumerateArray().Select(f => f.GetProperty("module").GetString()).Order());
            Assert.All(report.RootElement.GetProperty("debug_files").EnumerateArray(), f => Assert.Equal("build-id", f.GetProperty("matched_by").GetString()));
            IEnumerable<JsonElement> frames = report.RootElement.GetProperty("crash").GetProperty("stack").EnumerateArray()
                .Concat(report.RootElement.GetProperty("tasks").GetProperty("uninterruptible").EnumerateArray().SelectMany(t => t.GetProperty("stack").EnumerateArray()));
            var sections = new HashSet<(string, string)>();
            foreach (JsonElement frame in frames)
            {
                JsonElement location = frame.GetProperty("location");
                if (location.GetProperty("module").GetString() is not { } module || !Modules.Contains(module))
                    continue;
                ulong address = location.GetProperty("address").GetUInt64() - (frame.GetProperty("is_trap").GetBoolean() ? 0UL : 1);
                string file = Path.Combine(debug, $"{module}.ko.debug");
                (string section, ulong offset) = At(file, module, address, places);
                sections.Add((module, section));
                List<string> ours = [.. location.GetProperty("inlined").EnumerateArray().Select(c => Short(c.GetProperty("source"))), Short(location.GetProperty("source"))];
                Assert.Equal(Compiled.AddressesToLines(file, [offset], section)![0].Select(s => Short(s.Place)), ours);
                lines[$"{location.GetProperty("function").GetString()}+0x{location.GetProperty("offset").GetUInt64():x}"] = ours[^1];
            }

            // What never returns is moved out of the way by 6.1's compiler, into a section of its own.
            var expected = new HashSet<(string, string)> { ("crashtest", ".text"), ("crashtest_matrix", ".text"), ("crashtest_init", ".init.text") };
            if (places.ContainsKey(("crashtest", ".text.unlikely")))
                expected.Add(("crashtest", ".text.unlikely"));
            Assert.Superset(expected, sections);
        }

        // The console has no build ids: the release in .modinfo is not in a file of debug information, but the sizes of the functions agree.
        using JsonDocument log = JsonDocument.Parse(await PanaceaCommand.MustAsync("diagnose", directory.File("console.log"), "--json", "--debuginfo", debug));
        Assert.Contains(log.RootElement.GetProperty("debug_files").EnumerateArray(), f => (f.GetProperty("module").GetString(), f.GetProperty("matched_by").GetString()) is ("crashtest", "sizes"));
        int same = 0;
        foreach (JsonElement location in log.RootElement.GetProperty("reports").EnumerateArray().SelectMany(r => r.GetProperty("stack").EnumerateArray()).Select(e => e.GetProperty("location")))
        {
            if (location.GetProperty("source").ValueKind == JsonValueKind.Null)
                continue;
            Assert.Equal(lines[$"{location.GetProperty("function").GetString()}+0x{location.GetProperty("offset").GetUInt64():x}"], Short(location.GetProperty("source")));
            same++;
        }

        Assert.True(same >= 4, $"{same} frames of the console have the lines of the dump");
    }

    /// <summary>Where the guest has put each section of each module.</summary>
    private static async Task<Dictionary<(string Module, string Section), ulong>> PlacesAsync(Guest guest)
    {
        await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict", Limits.Guest);
        string said = await guest.MustAsync($"for m in {string.Join(' ', Modules)}; do for s in /sys/module/$m/sections/.*text*; do echo $m ${{s##*/}} $(cat $s); done; done", Limits.Guest);
        return said.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split(' '))
            .ToDictionary(w => (w[0], w[1]), w => ulong.Parse(w[2].AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture));
    }

    /// <summary>The section of a module that an address lies in, and how far from its start.</summary>
    private static (string Section, ulong Offset) At(string file, string module, ulong address, Dictionary<(string Module, string Section), ulong> places)
    {
        using var bytes = new FileDumpBytes(file);
        Assert.True(ElfObject.TryRead(bytes, FormatLimits.Default, out ElfObject elf, out string whyNot), whyNot);
        (string section, ulong start) = Assert.Single(places.Where(p => p.Key.Module == module && address >= p.Value && address - p.Value < elf.Find(p.Key.Section)!.Size).Select(p => (p.Key.Section, p.Value)));
        return (section, address - start);
    }

    private static string Short(JsonElement source) =>
        source.ValueKind == JsonValueKind.Null ? "??:0" : Short(string.Create(CultureInfo.InvariantCulture, $"{source.GetProperty("file").GetString()}:{source.GetProperty("line").GetInt32()}"));

    /// <summary>The name of the file and the line: directories are written in several ways.</summary>
    private static string Short(string place) => place[(place.LastIndexOf('/') + 1)..];
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class ModuleSourceTests61(Guest61 guest) : ModuleSourceTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class ModuleSourceTests612(Guest612 guest) : ModuleSourceTests(guest);
