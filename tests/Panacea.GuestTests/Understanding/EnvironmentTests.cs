using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>The machine, its settings, and what surrounds tasks, against /proc and /sys; values explained against what the guest says they are.</summary>
public abstract class EnvironmentTests(SharedGuest shared)
{
    [Fact]
    public async Task The_machine_is_what_the_guest_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        double before = await UptimeAsync(guest);
        SystemInfo ours = SystemInfo.Read(view.Kernel, TargetLimits.Default);
        double after = await UptimeAsync(guest);
        Assert.Equal(await guest.MustAsync("cat /proc/cmdline"), ours.CommandLine);
        Assert.Equal(await guest.MustAsync("hostname; uname -r; uname -v; uname -m"), $"{ours.HostName}\n{ours.Release}\n{ours.Version}\n{ours.Machine}");
        Assert.Equal(await guest.MustAsync("sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | head -n 1"), ours.CpuModel);
        Assert.Equal(await guest.MustAsync("grep -c ^processor /proc/cpuinfo"), $"{ours.CpusOnline}");
        foreach ((string field, string file) in ((string, string)[])[("SYS_VENDOR", "sys_vendor"), ("PRODUCT_NAME", "product_name"), ("BIOS_VERSION", "bios_version")])
            Assert.Equal(await guest.MustAsync($"cat /sys/class/dmi/id/{file}"), ours.Hardware[field]);

        // The kernel's clock is as old as its last tick: up to a second or so where both CPUs sleep.
        Assert.NotNull(ours.Clock?.BoottimeNs);
        Assert.InRange(ours.Clock.BoottimeNs.Value / 1e9, before - 10, after + 1);
        long booted = long.Parse(await guest.MustAsync("sed -n 's/^btime //p' /proc/stat"), CultureInfo.InvariantCulture);
        Assert.InRange(ours.BootedAt!.Value.ToUnixTimeSeconds(), booted - 2, booted + 2);
    }

    [Fact]
    public async Task Settings_are_what_sysctl_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        await guest.MustAsync("echo 7 > /proc/sys/kernel/panic; echo 77 > /proc/sys/kernel/hung_task_timeout_secs");
        try
        {
            List<Sysctl> ours = Sysctls.Read(view.Kernel);
            Assert.Contains(new Sysctl("kernel.panic", 7), ours);
            Assert.Contains(new Sysctl("kernel.hung_task_timeout_secs", 77), ours);
            int compared = 0;
            foreach (Sysctl setting in ours)
            {
                string file = $"/proc/sys/{setting.Name.Replace('.', '/')}";
                string theirs = await guest.MustAsync($"cat {file} 2> /dev/null; true");

                // Some have no file in every kernel; panic_on_taint is a boot parameter alone.
                if (theirs.Length == 0)
                    continue;
                compared++;
                Assert.Equal($"{setting.Name} {theirs}", $"{setting.Name} {setting.Value}");
            }

            Assert.True(compared >= 20, $"{compared}");
        }
        finally
        {
            await guest.MustAsync("echo 0 > /proc/sys/kernel/panic; echo 120 > /proc/sys/kernel/hung_task_timeout_secs");
        }
    }

    [Fact]
    public async Task Tasks_are_surrounded_by_what_proc_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        await guest.MustAsync("mkdir -p /tmp/cg /tmp/cg1 && mount -t cgroup2 cg /tmp/cg && mount -t cgroup -o none,name=lab lab /tmp/cg1 && mkdir /tmp/cg/outer /tmp/cg/outer/inner /tmp/cg1/other");
        string pid = await guest.MustAsync("(echo 0 > /tmp/cg/outer/inner/cgroup.procs; echo 0 > /tmp/cg1/other/cgroup.procs; exec sleep 1000) > /dev/null 2>&1 & echo $!");
        try
        {
            await guest.MustAsync($"while [ \"$(cat /proc/{pid}/comm)\" != sleep ]; do usleep 10000; done");
            List<LinuxTask> tasks = KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default));
            foreach (string p in (string[])[pid, "1", "2"])
            {
                LinuxTask task = tasks.First(t => $"{t.Pid}" == p);
                string[] groups = await guest.MustLinesAsync($"cat /proc/{p}/cgroup");
                Assert.Equal(groups, TaskEnvironment.Cgroups(view.Kernel, task, TargetLimits.Default).Select(c => $"{c.Hierarchy}:{c.Controllers}:{c.Path}"));
                Assert.Equal(groups[^1], $"0::{TaskEnvironment.CgroupPath(view.Kernel, task)}");

                // "uts:[4026531838]"
                string[] namespaces = await guest.MustLinesAsync($"cd /proc/{p}/ns; for n in uts ipc mnt net time cgroup pid_for_children user; do echo $n $(readlink $n | tr -dc 0-9); done");
                IReadOnlyDictionary<string, uint> ours = TaskEnvironment.Namespaces(view.Kernel, task);
                Assert.Equal(namespaces.Order(), ours.Select(n => $"{n.Key} {n.Value}").Order());
                TaskCredentials who = TaskEnvironment.Credentials(view.Kernel, task);
                string[] status = await guest.MustLinesAsync($"grep -E '^(Uid|Gid|CapPrm|CapEff)' /proc/{p}/status");
                Assert.Equal(
                    status.Select(l => l.Split('\t') is { Length: > 2 } f ? $"{f[0]} {f[1]} {f[2]}" : string.Join(' ', l.Split('\t'))),
                    [$"Uid: {who.Uid} {who.EffectiveUid}", $"Gid: {who.Gid} {who.EffectiveGid}", $"CapPrm: {who.Permitted:x16}", $"CapEff: {who.Effective:x16}"]);
                Assert.Equal("panacea-guest", TaskEnvironment.HostName(view.Kernel, task));
                string parent = await guest.MustAsync($"sed -n 's/^PPid:\\t//p' /proc/{p}/status");
                Assert.Equal(parent, $"{TaskEnvironment.Ancestors(view.Kernel, task).FirstOrDefault()?.Pid ?? 0}");
            }

            Assert.Equal("/outer/inner", TaskEnvironment.CgroupPath(view.Kernel, tasks.First(t => $"{t.Pid}" == pid)));
        }
        finally
        {
            await guest.MustAsync($"kill {pid}; while [ -d /proc/{pid} ]; do usleep 10000; done; usleep 100000; rmdir /tmp/cg/outer/inner /tmp/cg/outer /tmp/cg1/other; umount /tmp/cg /tmp/cg1; rmdir /tmp/cg /tmp/cg1; true");
        }
    }

    [Fact]
    public async Task Values_are_explained_as_the_guest_would()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        var explainer = new AddressExplainer(view.Kernel, TargetLimits.Default);
        foreach (LinuxTask task in KernelView.Settled(() => Tasks.Enumerate(view.Kernel, TargetLimits.Default)).Where(t => t.Pid is > 0 and < 50))
        {
            ulong stack = view.Kernel.Read(task.Address, "task_struct.stack");
            AddressExplanation owner = explainer.Explain(task.Address + 0x40), inside = explainer.Explain(stack + 0x3f00), below = explainer.Explain(stack - 0x10);
            Assert.Equal((AddressMeaning.Task, task.Pid), (owner.Meaning, owner.Task?.Pid));
            Assert.Equal((AddressMeaning.TaskStack, task.Pid), (inside.Meaning, inside.Task?.Pid));
            Assert.Equal((AddressMeaning.StackGuard, task.Pid), (below.Meaning, below.Task?.Pid));
        }

        Assert.Empty(explainer.Without);

        // A module that came and went: where it was is told from where one is.
        await guest.MustAsync("insmod /modules/crashtest_extra.ko");
        string line = await guest.MustAsync("grep ^crashtest_extra /proc/modules");
        ulong text = ulong.Parse(line.Split(' ')[5].AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture);
        AddressExplanation loaded = new AddressExplainer(view.Kernel, TargetLimits.Default).Explain(text + 8);
        await guest.MustAsync("rmmod crashtest_extra");

        // vfree of module memory is put off (lazily purged), the module itself is gone at once.
        AddressExplanation gone = new AddressExplainer(view.Kernel, TargetLimits.Default).Explain(text + 8);
        Assert.Equal(AddressMeaning.VmallocArea, loaded.Meaning);
        Assert.Equal((AddressMeaning.GoneModule, true), (gone.Meaning, gone.Text.Contains("crashtest_extra", StringComparison.Ordinal)));
    }

    private static async Task<double> UptimeAsync(Guest guest) => double.Parse((await guest.MustAsync("cat /proc/uptime")).Split(' ')[0], CultureInfo.InvariantCulture);
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class EnvironmentTests61(Guest61 guest) : EnvironmentTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class EnvironmentTests612(Guest612 guest) : EnvironmentTests(guest);
