using System.Text;
using System.Text.Json;
using System.Text.Json.Nodes;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Tests.ConsoleLog;
using Panacea.Diagnosis.Tests.KnownIssues;
using Panacea.Diagnosis.Tests.Validators;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests;

/// <summary>Hostile logs, guests and strings: each ends in a report, and no report carries what is hostile to who reads it.</summary>
public sealed class FuzzTests
{
    private static readonly string[] LogWords =
    [
        "Tainted: ", "Comm: ", " [#1]", "+0x", "/0x", " [", "]", "<", ">", "Code: ", "<TASK>", "</TASK>", "Call Trace:", "Kernel panic - not syncing: ", "BUG: KASAN: ", "[    1.000000]", "[ T1]",
        "------------[ cut here ]------------", "---[ end trace 0 ]---", "0x", "ffffffffffffffff", "99999999999999999999", "WARNING: CPU: ", "task:", " state:D", "==========================", "%s%d%p", "{", "}", ": ", "/",
        "Nov 25 10:00:00 host kernel: ", "6,1,1,-;", "<4>", "CPU: 0 PID: ", "RIP: 0010:", "Modules linked in: ", "invoked oom-killer: ", "Out of memory: Killed process 1 (", "-> #1 (",
        " is trying to acquire lock:", "but task is already holding lock:", " just changed the state of lock:", " blocked for more than ", "INFO: task ", "rcu: ", " First byte 0x", "scheduling while atomic: ",
    ];

    [Fact]
    public void Logs()
    {
        string[][] samples = [.. LogSamples.Names.Select(n => Encoding.UTF8.GetString(LogSamples.Read(n)).Split('\n'))];
        var mutator = new TextMutator(LogWords, mostLines: 25);
        Fuzzer.RunInputs(nameof(FuzzTargets.ConsoleLog), data => FuzzTargets.ConsoleLog(data), [.. LogSamples.Names.Select(LogSamples.Read)], random => mutator.Mutate(samples, random));
    }

    [Fact]
    public void Strings() => Fuzzer.Run(nameof(FuzzTargets.Safety), random => FuzzTargets.Safety(HostileText.Make(random)));

    [Fact]
    public void Reports_of_hostile_strings()
    {
        using CrashedGuest guest = Crashed(KernelShape.Linux612);
        JsonNode report = JsonSerializer.SerializeToNode(FuzzTargets.Machine(guest, guest.Crash.Vcpu), MachineReportJson.Default.MachineReport)!;
        Fuzzer.Run(nameof(FuzzTargets.Strings), random => FuzzTargets.Strings(report, random), share: 2);
    }

    [Fact]
    public void Rules()
    {
        byte[] seed = File.ReadAllBytes(Path.Combine(JsonSchema.Docs, "known-issues.example.yaml"));
        Fuzzer.Run(
            nameof(RulesFuzz),
            random =>
            {
                byte[] input = [.. seed];
                for (int edits = random.Next(1, 6); edits > 0; edits--)
                {
                    int at = random.Next(input.Length - 20), length = random.Next(20);
                    if (random.Next(3) == 0)
                        input[at] = (byte)"\0\t\n :-[]{}&*!|>'\"%@`#,?/\\é"[random.Next(26)];
                    else
                        input.AsSpan(random.Next(input.Length - length), length).CopyTo(input.AsSpan(at));
                }

                RulesFuzz.Rules(random.Next(5) == 0 ? input.AsSpan(0, random.Next(input.Length)) : input);
            });
    }

    [Fact]
    public void Validators()
    {
        CheckedGuest[] guests = [new(KernelShape.Linux61), new(KernelShape.Linux612)];
        GuestMutator[] mutators = [.. guests.Select(g => new GuestMutator(g.Guest.Memory, Regions(g.Guest, Objects(g)), Objects(g)))];
        Fuzzer.Run(
            nameof(FuzzTargets.Validators),
            random =>
            {
                int which = random.Next(guests.Length);
                mutators[which].Case(random, () => FuzzTargets.Validators(guests[which], random));
            },
            new FuzzCeilings { Reads = () => guests.Sum(g => g.Guest.Memory.Reads), MaxReads = 500_000 });
    }

    [Fact]
    public void Crashes() => Crashed(nameof(FuzzTargets.Crash), (guest, vcpu, _) => FuzzTargets.Crash(guest, vcpu), share: 2);

    /// <summary>Put together of all readers, with names of the guest's choice: fewer cases.</summary>
    [Fact]
    public void Machines() => Crashed(
        nameof(FuzzTargets.Machine),
        (guest, vcpu, random) =>
        {
            SyntheticKernel k = guest.Guest;
            k.Write(k.Victim.Address + k.Types.Offset("task_struct.comm"), Bytes(random, 15));
            k.Write(k.Modules[0].Address + k.Types.Offset("module.name"), Bytes(random, 50));
            FuzzTargets.Machine(guest, vcpu);
        },
        share: 20);

    private static void Crashed(string name, Action<CrashedGuest, VcpuRegisters, Random> target, int share)
    {
        CrashedGuest[] guests = [Crashed(KernelShape.Linux61), Crashed(KernelShape.Linux612)];
        GuestMutator[] mutators = [.. guests.Select(g => new GuestMutator(g.Guest.Memory, Regions(g), Pointers(g)))];
        Fuzzer.Run(
            name,
            random =>
            {
                int which = random.Next(guests.Length);
                VcpuRegisters vcpu = guests[which].Crash.Vcpu;
                if (random.Next(3) == 0)
                    vcpu = Damage(vcpu, Pointers(guests[which]), random);
                mutators[which].Case(random, () => target(guests[which], vcpu, random));
            },
            new FuzzCeilings { Reads = () => guests.Sum(g => g.Guest.Memory.Reads), MaxReads = 500_000 },
            share);
        Array.ForEach(guests, g => g.Dispose());
    }

    private static CrashedGuest Crashed(KernelShape shape) => new(
        new CrashSpec { Function = "ct_int" }, new SyntheticKernelOptions { Shape = shape },
        task: k =>
        {
            k.AddModule("first");
            k.Link();
            return k.Victim;
        },
        then: (k, _) => k.Log("BUG: kernel NULL pointer dereference, address: 0000000000000010", 99_000_000_000, 0));

    private static VcpuRegisters Damage(VcpuRegisters vcpu, ulong[] pointers, Random random)
    {
        GprFile gpr = vcpu.Gpr;
        for (int edits = random.Next(1, 4); edits > 0; edits--)
            gpr[(Gpr)random.Next(16)] = Value();
        return random.Next(6) switch
        {
            0 => vcpu with { Gpr = gpr, Rip = Value() },
            1 => vcpu with { Gpr = gpr, GsBase = Value() },
            2 => vcpu with { Gpr = gpr, Rflags = Value() },
            _ => vcpu with { Gpr = gpr },
        };

        ulong Value() => random.Next(3) switch
        {
            0 => ByteMutator.Edges[random.Next(ByteMutator.Edges.Count)],
            1 => unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)),
            _ => unchecked(pointers[random.Next(pointers.Length)] + (ulong)random.Next(-64, 256)),
        };
    }

    private static byte[] Bytes(Random random, int most)
    {
        byte[] bytes = Encoding.UTF8.GetBytes(HostileText.Make(random));
        return [.. bytes.Take(most), 0];
    }

    private static ulong[] Pointers(CrashedGuest g) =>
    [
        g.Crash.RegsAddress, g.Crash.FaultSp, g.Crash.ReturnSp, g.Crash.ReturnAddress, g.Guest.Victim.Address, g.Guest.Victim.Stack, g.Guest.Victim.StackTop, g.Guest["init_task"], g.Guest["ct_int"], g.Guest["ct_int"] + 7,
        g.Guest.TextBase, g.Guest.Modules[0].Address, g.Guest.Modules[0].TextStart, g.Guest["printk_ring"], g.Guest.PerCpuBase(0),
    ];

    private static (ulong, int)[] Regions(CrashedGuest g)
    {
        SyntheticKernel k = g.Guest;
        ulong sp = g.Crash.Vcpu.Gpr[Gpr.Rsp] & ~0xfffUL;
        return
        [
            (k.Physical(sp), 0x1000), (k.Physical(g.Crash.RegsAddress), 168), (k.Physical(g.Crash.FaultSp), 256), (k.Physical(k.Victim.Address), k.Types.SizeOf("task_struct")), (k.Physical(k.Victim.Signal), 64),
            (k.Physical(k.PerCpuBase(0)), 0x400), (k.Physical(k["printk_ring"]), 0x400), (k.Physical(k.Modules[0].Address), k.Types.SizeOf("module")), (k.Physical(k["nr_cpu_ids"]), 0x3000),
            (k.Physical(k["ct_int"] & ~0xfffUL), 0x1000),
        ];
    }

    private static ulong[] Objects(CheckedGuest g)
    {
        SyntheticKernel k = g.Guest;
        return
        [
            .. k.Tasks.Select(t => t.Address), .. k.Tasks.Select(t => t.Signal), .. g.Whole.Pids.Values, g.Whole.Mutex, g.Whole.Pool, g.Whole.Worker, g.Whole.Timer, g.Whole.Wheel, .. g.Whole.HighResolution, g.Whole.Mount,
            g.Whole.File, g.Whole.Cache.Address, g.Whole.Slab.Slab, k.PerCpu("runqueues", 0), k.PerCpu("hrtimer_bases", 0), k["modules"], k["super_blocks"], k["workqueues"], k["init_pid_ns"], k.Modules[0].Address,
        ];
    }

    private static (ulong, int)[] Regions(SyntheticKernel k, ulong[] objects) => [.. objects.Select(at => (k.Physical(at), 512))];
}
