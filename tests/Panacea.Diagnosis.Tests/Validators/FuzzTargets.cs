using Panacea.Diagnosis.Validators;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Validators;

/// <summary>Entries for a fuzzer and for the smoke test.</summary>
internal static class FuzzTargets
{
    private static readonly ulong[] Values = [0, 1, 0x57ac_6e9d, 0xdead_0000_0000_0100, 0xffff_ffff_ffff_ffff, 0x7fff_ffff_ffff_fff8, 0x4141_4141_4141_4141, 0xffff_c900_0000_0000];

    /// <summary>Overwrites words of what the validators look at, and checks all of it.</summary>
    public static void Damage(CheckedGuest g, Random random)
    {
        SyntheticKernel k = g.Guest;
        ulong[] objects =
        [
            .. k.Tasks.Select(t => t.Address), .. k.Tasks.Select(t => t.Signal), .. g.Whole.Pids.Values, g.Whole.Mutex, g.Whole.Pool, g.Whole.Worker, g.Whole.Timer, g.Whole.Wheel, g.Whole.Mount,
            g.Whole.File, g.Whole.Cache.Address, g.Whole.Slab.Slab, k.PerCpu("runqueues", 0), k.PerCpu("hrtimer_bases", 0), k["modules"], k["super_blocks"], k["workqueues"], k["init_pid_ns"], k.Modules[0].Address,
        ];
        for (int edits = random.Next(1, 12); edits > 0; edits--)
        {
            ulong at = objects[random.Next(objects.Length)] + ((ulong)random.Next(64) * 8);
            ulong value = random.Next(3) == 0 ? objects[random.Next(objects.Length)] + ((ulong)random.Next(16) * 8) : random.Next(2) == 0 ? Values[random.Next(Values.Length)] : unchecked((ulong)random.NextInt64());
            k.WriteU64(at, value);
        }

        CheckUpReport report = CheckUp.Run(g.Context());
        Assert.Equal(Diagnosis.Validators.Validators.All.Count, report.Validators.Count);
        Assert.All(report.Validators, v => Assert.DoesNotContain(v.Result.Unavailable, u => u.StartsWith("the check itself failed", StringComparison.Ordinal)));
    }
}
