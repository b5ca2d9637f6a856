using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Memory against /proc/meminfo, zoneinfo, iomem, kpageflags, vmallocinfo and slabinfo. The guest lives meanwhile: what changes is read between two looks.</summary>
public abstract class MemoryStateTests(SharedGuest shared)
{
    private const int Rounds = 20;

    /// <summary>KiB that counters may be off: what each CPU has not yet added, and what the look itself takes.</summary>
    private const long Slack = 4096;

    // KPF_* of include/uapi/linux/kernel-page-flags.h and, for reserved pages, include/linux/kernel-page-flags.h.
    private const int KpfSlab = 7, KpfBuddy = 10, KpfAnon = 12, KpfNoPage = 20, KpfPageTable = 26, KpfReserved = 32;

    [Fact]
    public async Task Counters_are_what_meminfo_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        Dictionary<string, long> before = await MemInfoAsync(guest);
        MemorySummary ours = KernelView.Settled(() => MemorySummary.Read(view.Kernel, TargetLimits.Default));
        Dictionary<string, long> after = await MemInfoAsync(guest);
        Assert.Equal(before["MemTotal"], (long)ours.Total * 4);
        Assert.Equal(before["SwapTotal"], (long)ours.SwapTotal * 4);
        (string Name, long Value)[] mine =
        [
            ("MemFree", (long)ours.Free * 4), ("MemAvailable", (long)ours.Available * 4), ("Active(file)", (long)ours.Counter("NR_ACTIVE_FILE") * 4),
            ("Inactive(file)", (long)ours.Counter("NR_INACTIVE_FILE") * 4), ("AnonPages", (long)ours.Counter("NR_ANON_MAPPED") * 4), ("Mapped", (long)ours.Counter("NR_FILE_MAPPED") * 4),
            ("Shmem", (long)ours.Counter("NR_SHMEM") * 4), ("SReclaimable", (long)ours.Counter("NR_SLAB_RECLAIMABLE_B") * 4), ("SUnreclaim", (long)ours.Counter("NR_SLAB_UNRECLAIMABLE_B") * 4),
            ("KernelStack", (long)ours.Counter("NR_KERNEL_STACK_KB")), ("PageTables", (long)ours.Counter("NR_PAGETABLE") * 4), ("Committed_AS", (long)ours.Committed!.Value * 4),
        ];
        Assert.All(mine, m => Assert.InRange(m.Value, Math.Min(before[m.Name], after[m.Name]) - Slack, Math.Max(before[m.Name], after[m.Name]) + Slack));
        Assert.InRange((long)ours.Cached * 4, before["Cached"] + before["Buffers"] - Slack, after["Cached"] + after["Buffers"] + Slack);
        Assert.True(before["MemFree"] > 10 * Slack, "the guest has so little memory that the comparison says nothing");
        Assert.Equal(0, ours.OomVictims);
        Assert.Equal((ulong)long.Parse(await guest.MustAsync("sed -n 's/^oom_kill //p' /proc/vmstat"), CultureInfo.InvariantCulture), ours.OomKills);
    }

    [Fact]
    public async Task Zones_are_what_zoneinfo_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string[] theirs = [.. (await guest.MustLinesAsync("cat /proc/zoneinfo")).Select(l => l.Trim())];
        var zones = new List<Dictionary<string, string>>();
        foreach (string line in theirs)
        {
            string[] f = line.Split([' ', ','], StringSplitOptions.RemoveEmptyEntries);
            if (f is ["Node", _, "zone", _])
                zones.Add(new() { ["name"] = f[3], ["node"] = f[1] });
            else if (f is ["min" or "low" or "high" or "spanned" or "present" or "managed" or "start_pfn:", _])
                zones[^1].TryAdd(f[0], f[1]);
        }

        IReadOnlyList<MemoryZone> ours = MemorySummary.Read(view.Kernel, TargetLimits.Default).Zones;
        Assert.Equal(
            zones.Where(z => z["present"] != "0").Select(z => $"{z["node"]} {z["name"]} {z["min"]} {z["low"]} {z["high"]} {z["spanned"]} {z["present"]} {z["managed"]} {z["start_pfn:"]}"),
            ours.Select(z => $"{z.Node} {z.Name} {z.Min} {z.Low} {z.High} {z.Spanned} {z.Present} {z.Managed} {z.StartFrame}"));
        Assert.NotEmpty(ours);
    }

    [Fact]
    public async Task Physical_memory_is_what_iomem_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        (int, ulong, ulong, string)[] theirs = [.. (await guest.MustLinesAsync("cat /proc/iomem")).Select(l =>
        {
            int depth = (l.Length - l.TrimStart(' ').Length) / 2;
            string[] f = l.Trim().Split(" : ", 2), range = f[0].Split('-');
            return (depth, Hex(range[0]), Hex(range[1]), f[1]);
        })];
        Assert.Contains(theirs, r => r.Item4 == "System RAM" && r.Item3 > 0);

        // /proc shows no more than five levels (kernel/resource.c, MAX_IORES_LEVEL).
        Assert.Equal(theirs, PhysicalMemory.Resources(view.Kernel, TargetLimits.Default).Where(r => r.Depth < 5)
            .Select(r => (r.Depth, r.Start.Value, r.End.Value, r.Name.Length > 0 ? r.Name : "<BAD>")));
    }

    [Fact]
    public async Task Pages_are_used_for_what_kpageflags_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        AddressLayout layout = AddressLayout.Read(view.Kernel);
        var pages = new Pages(view.Kernel, layout);
        var seen = new Dictionary<PageUse, int>();
        var wrong = new List<string>();

        // The array is read in blocks of 1024 frames, spread over memory.
        ulong blocks = layout.MaxFrame / 1024;
        for (ulong block = 0; block < blocks; block += Math.Max(1, blocks / 16))
        {
            // A page that was freed and taken for the same again between the looks is another one in between: what differs round after round is ours to explain.
            Dictionary<ulong, string>? here = null;
            for (int round = 0; round < Rounds && here is not { Count: 0 }; round++)
            {
                Dictionary<ulong, string> now = await DifferencesAsync(guest, pages, block, seen);
                here = here is null ? now : here.Where(w => now.ContainsKey(w.Key)).ToDictionary();
            }

            wrong.AddRange(here!.Values);
        }

        Assert.True(wrong.Count == 0, $"{wrong.Count} of {seen.Values.Sum()}:\n{string.Join('\n', wrong.Take(20))}");
        Assert.True(seen.GetValueOrDefault(PageUse.Slab) > 50 && seen.GetValueOrDefault(PageUse.Free) > 500, string.Join(", ", seen));
    }

    private static async Task<Dictionary<ulong, string>> DifferencesAsync(Guest guest, Pages pages, ulong block, Dictionary<PageUse, int> seen)
    {
        var wrong = new Dictionary<ulong, string>();
        ulong[] before = await FlagsAsync(guest, block);
        PageUse?[] ours = [.. Enumerable.Range(0, 1024).Select(i => pages.TryOfFrame((block * 1024) + (ulong)i, out PageInfo page) ? (PageUse?)page.Use : null)];
        ulong[] after = await FlagsAsync(guest, block);
        for (int i = 0; i < before.Length; i++)
        {
            if (before[i] != after[i] || Bit(before[i], KpfNoPage) || ours[i] is not { } use)
                continue;
            seen[use] = seen.GetValueOrDefault(use) + 1;
            PageUse? theirs = Bit(before[i], KpfSlab) ? PageUse.Slab : Bit(before[i], KpfBuddy) ? PageUse.Free : Bit(before[i], KpfPageTable) ? PageUse.PageTable
                : Bit(before[i], KpfAnon) ? PageUse.Anonymous : Bit(before[i], KpfReserved) ? PageUse.Reserved : null;
            if (theirs is null ? use is PageUse.Slab or PageUse.Free or PageUse.PageTable or PageUse.Anonymous or PageUse.Reserved : use != theirs)
                wrong[(block * 1024) + (ulong)i] = $"frame 0x{(block * 1024) + (ulong)i:x}: {theirs?.ToString() ?? "none of these"} (0x{before[i]:x}), ours {use}";
        }

        return wrong;
    }

    [Fact]
    public async Task Vmalloc_areas_are_what_vmallocinfo_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);

        // Addresses are shown to root where kptr_restrict is 1 (%pK).
        await guest.MustAsync("echo 1 > /proc/sys/kernel/kptr_restrict");
        try
        {
            var wrong = new List<string>();
            for (int round = 0; round < Rounds; round++)
            {
                HashSet<(ulong, ulong, uint)> before = await AreasAsync(guest);
                List<VmallocArea> ours = KernelView.Settled(() => Vmalloc.Areas(view.Kernel, TargetLimits.Default));
                HashSet<(ulong, ulong, uint)> after = await AreasAsync(guest);
                var mine = ours.Select(a => (a.Start, a.End, a.Pages)).ToHashSet();
                wrong = [.. before.Intersect(after).Where(a => !mine.Contains(a)).Select(a => $"0x{a.Item1:x}-0x{a.Item2:x} {a.Item3} is missing"),
                    .. mine.Where(a => !before.Contains(a) && !after.Contains(a)).Select(a => $"ours alone: 0x{a.Start:x}-0x{a.End:x} {a.Pages}")];
                Assert.True(before.Count > 20, $"{before.Count} areas");
                if (wrong.Count == 0)
                    return;
            }

            Assert.Fail(string.Join('\n', wrong));
        }
        finally
        {
            await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict");
        }
    }

    [Fact]
    public async Task Slab_caches_are_what_slabinfo_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        Dictionary<string, string>? wrong = null;
        for (int round = 0; round < Rounds && wrong is not { Count: 0 }; round++)
        {
            Dictionary<string, string> before = await SlabInfoAsync(guest);
            Assert.True(before.Count > 50, $"{before.Count} caches");
            var ours = KernelView.Settled(() => SlabCaches.Enumerate(view.Kernel, TargetLimits.Default)).Select(c => KernelView.Settled(() => SlabCaches.UsageOf(view.Kernel, c, TargetLimits.Default)))
                .ToDictionary(u => u.Cache.Name, u => string.Create(
                    CultureInfo.InvariantCulture, $"{u.Active} {u.Objects} {u.Cache.Size} {u.Cache.ObjectsPerSlab} {1 << u.Cache.Order} {u.Slabs}"));
            Dictionary<string, string> after = await SlabInfoAsync(guest);
            Assert.Equal(before.Keys.Order(), ours.Keys.Order());
            Dictionary<string, string> now = before.Where(b => ours[b.Key] != b.Value && ours[b.Key] != after[b.Key]).ToDictionary(b => b.Key, b => $"{b.Key}: {b.Value}, then {after[b.Key]}, ours {ours[b.Key]}");

            // One that was right once is right: what differs round after round is ours to explain.
            wrong = wrong is null ? now : wrong.Where(w => now.ContainsKey(w.Key)).ToDictionary();
        }

        Assert.True(wrong is { Count: 0 }, string.Join('\n', wrong!.Values));
    }

    [Fact]
    public async Task Living_objects_are_in_use_and_freed_ones_free()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        var objects = new SlabObjects(view.Kernel, AddressLayout.Read(view.Kernel), KernelView.Settled(() => SlabCaches.Enumerate(view.Kernel, TargetLimits.Default)));
        List<LinuxTask> tasks = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default));
        int told = 0, freeInTheirSlabs = 0;
        foreach (LinuxTask task in tasks.Where(t => t.IsKernelThread && t.Pid != 0 && t.Pid < 60))
        {
            Assert.True(objects.TryFind(task.Address + 8, out SlabObject found, out string why), why);
            Assert.Equal(("task_struct", task.Address, 8L), (found.Cache.Name, found.Start, found.Offset));
            Assert.NotEqual(SlabObjectState.Free, found.State);
            told += found.State == SlabObjectState.InUse ? 1 : 0;
            if (objects.TryFreeObjects(task.Address, out IReadOnlySet<ulong> free, out _))
                freeInTheirSlabs += free.Count;
        }

        Assert.True(told > 20, $"{told}");

        // A process that ended and was waited for: its task_struct goes back after a grace period, and is free or somebody else's then.
        string pid = await guest.MustAsync("sleep 1000 > /dev/null 2>&1 & echo $!");
        LinuxTask sleeper = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).First(t => $"{t.Pid}" == pid);
        Assert.True(objects.TryFind(sleeper.Address, out SlabObject alive, out _));
        Assert.NotEqual(SlabObjectState.Free, alive.State);
        await guest.MustAsync($"kill {pid}; while [ -d /proc/{pid} ]; do usleep 10000; done");
        for (int round = 0; round < Rounds * 50; round++)
        {
            if (objects.TryFind(sleeper.Address, out SlabObject dead, out _) && dead.State == SlabObjectState.Free)
                return;
            if (KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).Any(t => t.Address == sleeper.Address && $"{t.Pid}" != pid))
                return;
            await guest.MustAsync("true");
        }

        Assert.Fail("the task_struct of a process that ended never became free");
    }

    private static bool Bit(ulong flags, int bit) => (flags >> bit & 1) != 0;

    private static ulong Hex(string text) => ulong.Parse(text, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);

    private static async Task<ulong[]> FlagsAsync(Guest guest, ulong block)
    {
        byte[] raw = Convert.FromBase64String((await guest.MustAsync($"dd if=/proc/kpageflags bs=8192 skip={block} count=1 2> /dev/null | base64", Limits.Guest)).ReplaceLineEndings(""));
        return [.. Enumerable.Range(0, raw.Length / 8).Select(i => BitConverter.ToUInt64(raw, i * 8))];
    }

    private static async Task<Dictionary<string, long>> MemInfoAsync(Guest guest) => (await guest.MustLinesAsync("cat /proc/meminfo"))
        .Select(l => l.Split([':', ' '], StringSplitOptions.RemoveEmptyEntries)).ToDictionary(f => f[0], f => long.Parse(f[1], CultureInfo.InvariantCulture));

    /// <summary>Areas that are freed and not yet purged are listed too, and are none any more.</summary>
    private static async Task<HashSet<(ulong, ulong, uint)>> AreasAsync(Guest guest) => [.. (await guest.MustLinesAsync("cat /proc/vmallocinfo")).Where(l => l.StartsWith("0x", StringComparison.Ordinal) && !l.Contains(" unpurged ", StringComparison.Ordinal)).Select(l =>
    {
        // "0xffffb8a780000000-0xffffb8a780005000   20480 irq_init_percpu_irqstack+0xd6/0x120 vmap"
        string[] f = l.Split(' ', StringSplitOptions.RemoveEmptyEntries), range = f[0].Split('-');
        string? pages = f.FirstOrDefault(w => w.StartsWith("pages=", StringComparison.Ordinal));
        return (Hex(range[0][2..]), Hex(range[1][2..]), pages is null ? 0 : uint.Parse(pages.AsSpan(6), CultureInfo.InvariantCulture));
    })];

    private static async Task<Dictionary<string, string>> SlabInfoAsync(Guest guest) => (await guest.MustLinesAsync("cat /proc/slabinfo")).Skip(2)
        .Select(l => l.Split(' ', StringSplitOptions.RemoveEmptyEntries)).ToDictionary(f => f[0], f => $"{f[1]} {f[2]} {f[3]} {f[4]} {f[5]} {f[14]}");
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class MemoryStateTests61(Guest61 guest) : MemoryStateTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class MemoryStateTests612(Guest612 guest) : MemoryStateTests(guest);
