using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text.Json.Nodes;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Open files, mounts, disks, network devices and sockets against /proc and /sys.</summary>
public abstract class FileStateTests(SharedGuest shared)
{
    private const int Rounds = 20;

    [Fact]
    public async Task Open_files_are_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);

        // One with a file that is gone, a directory and a namespace.
        string pid = await guest.MustAsync("(cd /proc; exec 9> /tmp/gone; rm /tmp/gone; exec 8< /data; exec 7< /proc/1/ns/mnt; exec sleep 1000) > /dev/null 2>&1 & echo $!");
        try
        {
            Dictionary<string, string>? wrong = null;
            for (int round = 0; round < Rounds && wrong is not { Count: 0 }; round++)
            {
                Dictionary<string, string> before = await LinksAsync(guest);
                Dictionary<string, string> ours = KernelView.Settled(() => OursOf(view));
                Dictionary<string, string> after = await LinksAsync(guest);
                Assert.Contains($"{pid}|fd/9", before.Keys);
                Assert.Equal("/tmp/gone (deleted)", before[$"{pid}|fd/9"]);
                Dictionary<string, string> now = before.Where(b => after.GetValueOrDefault(b.Key) == b.Value && ours.GetValueOrDefault(b.Key) != b.Value)
                    .ToDictionary(b => b.Key, b => $"{b.Key}: {b.Value}, ours {ours.GetValueOrDefault(b.Key) ?? "none"}");
                wrong = wrong is null ? now : wrong.Where(w => now.ContainsKey(w.Key)).ToDictionary();
            }

            Assert.True(wrong is { Count: 0 }, string.Join('\n', wrong!.Values));
        }
        finally
        {
            await guest.MustAsync($"kill {pid}");
        }
    }

    [Fact]
    public async Task Positions_and_flags_are_what_fdinfo_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        string pid = await guest.MustAsync("(exec 7< /etc/passwd; read line <&7; exec 6>> /tmp/appended; exec sleep 1000) > /dev/null 2>&1 & echo $!");
        try
        {
            LinuxTask task = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).First(t => $"{t.Pid}" == pid);
            await guest.MustAsync($"while [ \"$(cat /proc/{pid}/comm)\" != sleep ]; do usleep 10000; done");
            string[] theirs = await guest.MustLinesAsync($"for f in /proc/{pid}/fdinfo/*; do echo ${{f##*/}} $(sed -n 's/^pos:\\|^flags:\\|^ino://p' $f); done");
            IEnumerable<string> ours = OpenFiles.Of(view.Kernel, task, TargetLimits.Default).Select(f =>
                $"{f.Descriptor} {f.Position} 0{Convert.ToString((uint)(f.Flags | (f.CloseOnExec ? 0x8_0000u : 0)), 8)} {f.InodeNumber}");
            Assert.Equal(theirs.Select(l => string.Join(' ', l.Split(' ').Select((w, i) => i == 2 ? "0" + w.TrimStart('0') : w))), ours);
            Assert.Contains(theirs, l => l.StartsWith("7 ", StringComparison.Ordinal));
        }
        finally
        {
            await guest.MustAsync($"kill {pid}; rm -f /tmp/appended");
        }
    }

    [Fact]
    public async Task Mounts_are_what_proc_mounts_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        await guest.MustAsync("mkdir -p '/tmp/a b' /tmp/bound && mount -t tmpfs -o ro,noexec,nosuid deep '/tmp/a b' && mount --bind /data/redis /tmp/bound");
        try
        {
            LinuxTask init = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).First(t => t.Pid == 1);
            List<LinuxMount> ours = KernelView.Settled(() => Mounts.Enumerate(view.Kernel, Mounts.NamespaceOf(view.Kernel, init), TargetLimits.Default));
            string[][] theirs = [.. (await guest.MustLinesAsync("cat /proc/1/mounts")).Select(l => l.Split(' '))];
            Assert.Equal(theirs.Select(f => $"{f[0]} {f[1].Replace("\\040", " ", StringComparison.Ordinal)} {f[2]}"), ours.Select(m => $"{m.Device} {m.Point} {m.Type}"));
            Assert.All(theirs.Zip(ours), p => Assert.Equal(p.First[3].Split(',').Take(p.Second.Options.Count), p.Second.Options));

            // "26 1 0:24 / /tmp rw,relatime - tmpfs tmp rw": id, parent, device, root.
            string[][] info = [.. (await guest.MustLinesAsync("cat /proc/1/mountinfo")).Select(l => l.Split(' '))];
            Assert.Equal(info.Select(f => $"{f[0]} {f[1]} {f[3]}"), ours.Select(m => $"{m.Id} {m.ParentId} {m.RootPath}"));
            List<LinuxSuperBlock> supers = KernelView.Settled(() => Mounts.SuperBlocks(view.Kernel, TargetLimits.Default));
            Assert.All(ours, m => Assert.Contains(supers, s => s.Address == m.SuperBlock));
            Assert.Equal(info.Select(f => f[2]), ours.Select(m => supers.First(s => s.Address == m.SuperBlock).Device).Select(d => $"{d >> 20}:{d & 0xf_ffff}"));
        }
        finally
        {
            await guest.MustAsync("umount '/tmp/a b' /tmp/bound; rmdir '/tmp/a b' /tmp/bound");
        }
    }

    [Fact]
    public async Task Disks_are_what_proc_partitions_says_and_requests_in_flight_what_sys_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        List<BlockDevice> ours = KernelView.Settled(() => BlockDevices.Enumerate(view.Kernel, TargetLimits.Default));
        string[] theirs = [.. (await guest.MustLinesAsync("cat /proc/partitions")).Skip(1).Select(l => string.Join(' ', l.Split(' ', StringSplitOptions.RemoveEmptyEntries)))];
        Assert.Equal(theirs, ours.Where(d => d.Sectors > 0).Select(d => $"{d.Device >> 20} {d.Device & 0xf_ffff} {d.Sectors / 2} {d.Name}"));
        BlockDevice disk = ours.First(d => d.Name == "vda");
        Assert.DoesNotContain(KernelView.Settled(() => BlockDevices.InFlight(view.Kernel, disk, TargetLimits.Default)), r => r.Operation == "READ");

        // A disk that does one operation in a while keeps its requests long enough to be looked at.
        await ThrottleAsync(guest, 1);
        try
        {
            await guest.MustAsync("echo 3 > /proc/sys/vm/drop_caches; (dd if=/dev/vda of=/dev/null bs=4096 skip=9000 count=64 & dd if=/dev/vda of=/dev/null bs=4096 skip=12000 count=64 &) > /dev/null 2>&1");
            for (int round = 0; round < Rounds * 20; round++)
            {
                string before = await guest.MustAsync("cat /sys/block/vda/inflight");
                List<BlockRequest> requests = KernelView.Settled(() => BlockDevices.InFlight(view.Kernel, disk, TargetLimits.Default));
                string after = await guest.MustAsync("cat /sys/block/vda/inflight");
                int[] reads = [.. new[] { before, after }.Select(l => int.Parse(l.Split(' ', StringSplitOptions.RemoveEmptyEntries)[0], CultureInfo.InvariantCulture))];
                if (before != after || reads[0] == 0)
                    continue;
                Assert.Equal(reads[0], requests.Count(r => r.Operation == "READ"));
                Assert.All(requests.Where(r => r.Operation == "READ"), r => Assert.True(r.Sector >= 9000 * 8 && r.Bytes is > 0 and <= 1 << 20, $"{r}"));
                return;
            }

            Assert.Fail("the guest never showed a read in flight");
        }
        finally
        {
            await ThrottleAsync(guest, 0);
            await guest.MustAsync("killall dd 2> /dev/null; true");
        }
    }

    [Fact]
    public async Task Network_devices_are_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        await guest.MustAsync("ping -c 3 -i 0.1 127.0.0.1 || ping -c 3 127.0.0.1");
        Dictionary<string, ulong[]> before = await CountersAsync(guest);
        List<NetDevice> ours = KernelView.Settled(() => NetDevices.Enumerate(view.Kernel, view.Kernel.Symbol("init_net"), TargetLimits.Default));
        Dictionary<string, ulong[]> after = await CountersAsync(guest);
        Assert.Equal(before.Keys, ours.Select(d => d.Name));
        foreach (NetDevice device in ours)
        {
            Assert.NotNull(device.Statistics);
            ulong[] mine = [device.Statistics.ReceivedBytes, device.Statistics.ReceivedPackets, device.Statistics.SentBytes, device.Statistics.SentPackets];
            Assert.All(Enumerable.Range(0, 4), i => Assert.InRange(mine[i], before[device.Name][i], after[device.Name][i]));
            Assert.True(mine.All(c => c > 0), $"{device}");
            string link = $"{await guest.MustAsync($"cd /sys/class/net/{device.Name}; cat address ifindex mtu operstate flags")}";
            Assert.Equal([device.HardwareAddress, $"{device.Index}", $"{device.Mtu}", device.OperationalState, $"0x{device.Flags:x}"], link.Split('\n'));
            string[] addresses = [.. (await guest.MustLinesAsync($"ip addr show dev {device.Name}")).Select(l => l.Trim().Split(' ')).Where(f => f[0] is "inet" or "inet6").Select(f => f[1])];
            Assert.Equal(addresses.Order(), device.Addresses.Select(a => a.ToString()).Order());
        }
    }

    [Fact]
    public async Task Sockets_are_what_proc_net_tcp_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        using var client = new TcpClient();
        await client.ConnectAsync(IPAddress.Loopback, guest.RedisPort, TestContext.Current.CancellationToken);
        await client.GetStream().WriteAsync("PING\r\n"u8.ToArray(), TestContext.Current.CancellationToken);
        Assert.True(await client.GetStream().ReadAsync(new byte[16], TestContext.Current.CancellationToken) > 0);
        HashSet<string> before = await TcpAsync(guest);
        List<LinuxSocket> listeners = KernelView.Settled(() => Sockets.TcpListeners(view.Kernel, TargetLimits.Default));
        List<LinuxSocket> connections = KernelView.Settled(() => Sockets.TcpConnections(view.Kernel, TargetLimits.Default));
        HashSet<string> after = await TcpAsync(guest);
        HashSet<string> mine = [.. listeners.Concat(connections).Where(s => s.Family == "inet").Select(s => $"{s.Local} {(s.Remote.Length > 0 ? s.Remote : "0.0.0.0:0")} {s.State}")];
        Assert.Contains(before, l => l.StartsWith("10.0.2.15:6379 ", StringComparison.Ordinal) && l.EndsWith(" ESTABLISHED", StringComparison.Ordinal));
        Assert.Contains("0.0.0.0:6379 0.0.0.0:0 LISTEN", before);
        Assert.Empty(before.Intersect(after).Except(mine));
        Assert.All(listeners, l => Assert.Equal("LISTEN", l.State));

        // The same by the server's descriptors.
        LinuxTask server = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).First(t => t.Comm == "redis-server" && t.Pid == t.Tgid);
        LinuxSocket[] held = [.. KernelView.Settled(() => OpenFiles.Of(view.Kernel, server, TargetLimits.Default)).Select(f => Sockets.Of(view.Kernel, f)).OfType<LinuxSocket>()];
        Assert.Contains(held, s => s is { State: "LISTEN", Local: "0.0.0.0:6379", Type: "stream", Protocol: 6 });
        Assert.Contains(held, s => s.State == "ESTABLISHED" && s.Local == "10.0.2.15:6379" && connections.Any(c => c.Address == s.Address));
    }

    private static async Task ThrottleAsync(Guest guest, int operations) => await guest.Monitor.ExecuteAsync("block_set_io_throttle", new JsonObject
    {
        ["device"] = "disk", ["bps"] = 0, ["bps_rd"] = 0, ["bps_wr"] = 0, ["iops"] = operations, ["iops_rd"] = 0, ["iops_wr"] = 0,
    });

    private static Dictionary<string, string> OursOf(KernelView view)
    {
        var ours = new Dictionary<string, string>();
        foreach (LinuxTask task in Tasks.Enumerate(view.Kernel, TargetLimits.Default).Where(t => t.Pid == t.Tgid && t.Pid != 0))
        {
            foreach (OpenFile file in OpenFiles.Of(view.Kernel, task, TargetLimits.Default))
                ours[$"{task.Pid}|fd/{file.Descriptor}"] = file.Path;
            TaskDirectories directories = OpenFiles.DirectoriesOf(view.Kernel, task);
            (ours[$"{task.Pid}|cwd"], ours[$"{task.Pid}|root"], ours[$"{task.Pid}|exe"]) = (directories.WorkingDirectory ?? "?", directories.Root ?? "?", directories.Executable ?? "");
        }

        return ours;
    }

    private static async Task<Dictionary<string, string>> LinksAsync(Guest guest) =>
        (await guest.MustLinesAsync("for p in /proc/[0-9]*; do [ -e $p/exe ] || continue; for f in $p/fd/* $p/cwd $p/root $p/exe; do echo \"${p#/proc/}|${f#$p/}|$(readlink $f)\"; done; done 2> /dev/null; true"))
            .Select(l => l.Split('|', 3)).Where(f => f[2].Length > 0).ToDictionary(f => $"{f[0]}|{f[1]}", f => f[2]);

    private static async Task<Dictionary<string, ulong[]>> CountersAsync(Guest guest) => (await guest.MustLinesAsync("cat /proc/net/dev")).Skip(2)
        .Select(l => l.Split([':', ' '], StringSplitOptions.RemoveEmptyEntries))
        .ToDictionary(f => f[0], f => ((int[])[1, 2, 9, 10]).Select(i => ulong.Parse(f[i], CultureInfo.InvariantCulture)).ToArray());

    private static async Task<HashSet<string>> TcpAsync(Guest guest) => [.. (await guest.MustLinesAsync("cat /proc/net/tcp")).Skip(1).Select(l =>
    {
        // "0: 00000000:18EB 00000000:0000 0A …": addresses as the machine keeps them, ports as numbers.
        string[] f = l.Split(' ', StringSplitOptions.RemoveEmptyEntries), states = ["", "ESTABLISHED", "SYN_SENT", "SYN_RECV", "FIN_WAIT1", "FIN_WAIT2", "TIME_WAIT", "CLOSE", "CLOSE_WAIT", "LAST_ACK", "LISTEN", "CLOSING", "NEW_SYN_RECV"];
        string End(string text) => $"{new IPAddress(long.Parse(text.AsSpan(0, 8), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture))}:{int.Parse(text.AsSpan(9), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)}";
        return $"{End(f[1])} {End(f[2])} {states[int.Parse(f[3], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture)]}";
    })];
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class FileStateTests61(Guest61 guest) : FileStateTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class FileStateTests612(Guest612 guest) : FileStateTests(guest);
