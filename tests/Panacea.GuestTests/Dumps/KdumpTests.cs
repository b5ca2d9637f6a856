using Panacea.Formats.Vmcore;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Setup;
using Panacea.Target;
using Panacea.Target.Dump;

namespace Panacea.GuestTests.Dumps;

/// <summary>Dumps as they come from the field: a guest with a crash kernel dies, that stores /proc/vmcore, and makedumpfile packs it. What is said of each agrees with the guest's console.</summary>
public abstract class KdumpTests(string line, bool fileLoad, bool filterKnowsSlab)
{
    /// <summary>What makedumpfile of Debian 12 can write; its Snappy and Zstandard are not built in.</summary>
    public static TheoryData<string> Variants { get; } =
        ["-c -d 31", "-l -d 31", "-d 31", "-c -d 0", "-l -d 17 -F", "-c -d 31 --split", "-l -d 31 --split --splitblock-size 16", "-E -d 31", "-E -d 31 -F"];

    /// <summary>Other ways to die: a panic, a call through NULL, a trap that is no page fault, a double fault, and in an interrupt.</summary>
    public static TheoryData<string> Crashes { get; } =
    [
        "echo panic > /dev/crashtest", "echo null-call > /dev/crashtest", "echo bug > /dev/crashtest", "echo divide-by-zero > /dev/crashtest", "echo c > /proc/sysrq-trigger",
        "insmod /modules/crashtest_reports.ko; echo stack-overflow > /dev/crashtest-reports",
    ];

    [Fact]
    public async Task A_vmcore_and_what_makedumpfile_makes_of_it_tell_what_the_console_tells()
    {
        using KdumpCrash crash = await KdumpCrash.MakeAsync(line, "echo null-write > /dev/crashtest", fileLoad);
        await crash.AssertToldAsync([crash.Vmcore], all: true);
        IReadOnlyList<string> log = await Makedumpfile.ReadLogAsync(crash.Vmcore, crash.File("dmesg"));
        AssertSameLog(log, crash, [crash.Vmcore]);
        string[] packed = await Makedumpfile.WriteAsync("-c -d 31", crash.Vmcore, crash.File("packed"));
        await crash.AssertToldAsync(packed, filterKnowsSlab);
        if (!Suites.Matrix)
            return;
        foreach (string options in Variants.Select(v => v.Data))
        {
            string[] files = await Makedumpfile.WriteAsync(options, crash.Vmcore, crash.File("variant"));
            await crash.AssertToldAsync(files, filterKnowsSlab || options.Contains("-d 0", StringComparison.Ordinal));
            AssertSameLog(log, crash, files);
            foreach (string file in files)
                File.Delete(file);
        }
    }

    [Theory(Skip = Suites.NeedsMatrix, SkipUnless = nameof(Suites.Matrix), SkipType = typeof(Suites))]
    [MemberData(nameof(Crashes))]
    public async Task Another_death_is_told_as_its_console_tells_it(string command)
    {
        using KdumpCrash crash = await KdumpCrash.MakeAsync(line, command, !fileLoad);
        await crash.AssertToldAsync([crash.Vmcore], all: true);
    }

    /// <summary>makedumpfile of Debian 13 knows Zstandard, and what of 6.12's memory is in use.</summary>
    [Fact(Skip = Suites.NeedsDebugInfo, SkipUnless = nameof(Suites.DebugInfo), SkipType = typeof(Suites))]
    public async Task What_a_newer_makedumpfile_packs_is_told_whole()
    {
        DumpReader newer = (await DumpReaders.GetAsync()).Makedumpfile;
        using KdumpCrash crash = await KdumpCrash.MakeAsync(line, "echo null-write > /dev/crashtest", fileLoad);
        foreach (string options in (string[])["-z -d 31", "-l -d 31"])
        {
            string packed = crash.File(options.Replace(" ", "", StringComparison.Ordinal));
            await HostCommand.MustAsync(newer.Command[0], [.. newer.Command.Skip(1), .. options.Split(' '), crash.Vmcore, packed]);
            await crash.AssertToldAsync([packed], all: true);
        }
    }

    private static void AssertSameLog(IReadOnlyList<string> log, KdumpCrash crash, string[] files)
    {
        using DumpTarget dump = DumpTarget.Open(files, TargetLimits.Default);
        Assert.Contains(dump.Kind, (DumpKind[])[DumpKind.Elf, DumpKind.Kdump]);
        using Kernel.Image.DumpKernel kernel = Kernel.Image.DumpKernel.Open(dump, TargetLimits.Default);
        Assert.Equal(log, Kernel.Subsystems.Printk.Tail(kernel.Kernel, int.MaxValue, TargetLimits.Default).SelectMany(r => Makedumpfile.Lines(r.Text)));
    }
}

/// <summary>The crash kernel of 6.1 is loaded by kexec_load, the usual way.</summary>
[Collection(nameof(Guest61))]
public sealed class KdumpTests61() : KdumpTests("6.1", fileLoad: false, filterKnowsSlab: true);

/// <summary>That of 6.12 by kexec_file_load, as where the kernel is locked down.</summary>
[Collection(nameof(Guest612))]
public sealed class KdumpTests612() : KdumpTests("6.12", fileLoad: true, filterKnowsSlab: false);
