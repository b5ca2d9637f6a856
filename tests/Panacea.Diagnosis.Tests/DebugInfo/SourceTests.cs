using System.Globalization;
using System.Text;
using System.Text.Json;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.DebugInfo;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;
using Panacea.Formats;
using Panacea.Formats.Dwarf;
using Panacea.Formats.Vmcore;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.DebugInfo;

/// <summary>Source lines in reports, from files that gcc makes as if they were the guest's kernel.</summary>
public sealed class SourceTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();

    public void Dispose() => _directory.Dispose();

    [Fact]
    public void A_machines_frames_get_lines_and_inlined_functions()
    {
        using CrashedGuest g = Guest();
        string vmlinux = Vmlinux(g, Convert.ToHexStringLower(g.Guest.BuildId), "boot");
        (MachineReport report, MachineBuilds builds) = Report(g);
        using var files = new DebugFiles([_directory.Path], FormatLimits.Default);
        MachineReport with = MachineSources.Add(report, builds, files);
        Assert.Equal("fixture.c", with.Crash!.Location.Source?.File);
        Assert.InRange(with.Crash.Location.Source!.Line, 35, 42);
        Assert.Equal(with.Crash.Location.Source, with.Crash.Stack[0].Location.Source);
        Assert.Equal(with.Crash.Location.Source, with.Cpus[0].Stack.First(f => f.Location.Function == "ct_int").Location.Source);
        Assert.Equal(new UsedDebugFile(null, vmlinux, Convert.ToHexStringLower(g.Guest.BuildId), "build-id"), Assert.Single(with.DebugFiles));
        Assert.Empty(JsonSchema.Load("diagnosis.schema.json").Validate(JsonSerializer.SerializeToElement(with, MachineReportJson.Default.MachineReport)));
        string at = $" at fixture.c:{with.Crash.Location.Source.Line}";
        Assert.Contains($"{with.Crash.Stack[0].Location}{at}", MachineMarkdown.Render(with));
        Assert.Contains($"{with.Crash.Stack[0].Location}</code>{at}", MachineHtml.Render(with));
        Assert.Contains("## Debug information", MachineMarkdown.Render(with));

        // Nothing else changes.
        Assert.Equal((report.Crash!.Title, report.Crash.Bucket, report.Crash.Stack.Count), (with.Crash.Title, with.Crash.Bucket, with.Crash.Stack.Count));
    }

    [Fact]
    public void A_file_of_another_build_is_said_and_not_used()
    {
        using CrashedGuest g = Guest();
        string vmlinux = Vmlinux(g, "0102030405060708090a0b0c0d0e0f1011121314", ".");
        (MachineReport report, MachineBuilds builds) = Report(g);
        foreach (string place in (string[])[_directory.Path, vmlinux])
        {
            using var files = new DebugFiles([place], FormatLimits.Default);
            MachineReport with = MachineSources.Add(report, builds, files);
            Assert.Null(with.Crash!.Location.Source);
            Assert.Empty(with.DebugFiles);
            Assert.Contains(
                $"debug information: {vmlinux} is of another build (build id 0102030405060708090a0b0c0d0e0f1011121314) than the kernel (build id {Convert.ToHexStringLower(g.Guest.BuildId)}); it is not used",
                with.Missing);
        }

        using var nothing = new DebugFiles([_directory.Path], FormatLimits.Default);
        Assert.Contains(MachineSources.Add(report, builds with { BuildId = null }, nothing).Missing, m => m.Contains("build id could not be read", StringComparison.Ordinal));
    }

    [Theory]
    [InlineData("vmlinux")]
    [InlineData("usr/lib/debug/boot/vmlinux-{0}")]
    [InlineData("{1}/debuginfo")]
    [InlineData(".build-id/{2}.debug")]
    [InlineData("deep/in/it/vmlinux-some.debug")]
    public void A_file_is_found_where_packages_and_debuginfod_put_it(string place)
    {
        using CrashedGuest g = Guest();
        string id = Convert.ToHexStringLower(g.Guest.BuildId), made = Vmlinux(g, id, "."), file = _directory.File(string.Format(CultureInfo.InvariantCulture, place, g.Guest.Release, id, $"{id[..2]}/{id[2..]}"));
        Directory.CreateDirectory(Path.GetDirectoryName(file)!);
        File.Move(made, _directory.File("moved"));
        File.Move(_directory.File("moved"), file);
        (MachineReport report, MachineBuilds builds) = Report(g);
        using var files = new DebugFiles([_directory.Path], FormatLimits.Default);
        Assert.NotNull(MachineSources.Add(report, builds, files).Crash!.Location.Source);
        Assert.Equal(file, Assert.Single(files.Used).File);
    }

    [Theory]
    [InlineData(true, 0, "banner")]
    [InlineData(false, 0, "sizes")]
    [InlineData(false, 8, null)]
    public void A_logs_frames_get_them_where_the_build_is_shown_to_be_the_same(bool banner, int wrong, string? matchedBy)
    {
        const string release = "6.1.0-9-test", build = "Linux version 6.1.0-9-test (me) (gcc) #1 SMP Debian 6.1.9-1 (2026-01-01)";
        string vmlinux = Make([.. Linked, "-gdwarf-5"], Compiled.Source + $"\nconst char linux_banner[] = \"{build}\\n\";\n", "vmlinux");
        using var bytes = new FileDumpBytes(vmlinux);
        Assert.True(DebugFile.TryOpen(bytes, FormatLimits.Default, out DebugFile debug, out string whyNot), whyNot);
        string Place(string function, ulong offset) =>
            string.Create(CultureInfo.InvariantCulture, $"{function}+0x{offset:x}/0x{debug.Symbols.Find(function)[0].Room + (function == "outer" ? (ulong)wrong : 0):x}");
        string log = $"""
            {(banner ? $"[    0.000000] {build}\n" : "")}[    7.1] BUG: kernel NULL pointer dereference, address: 0000000000000000
            [    7.2] #PF: supervisor write access in kernel mode
            [    7.3] Oops: 0002 [#1] PREEMPT SMP PTI
            [    7.4] CPU: 1 PID: 77 Comm: cat Not tainted {release} #1  Debian 6.1.9-1
            [    7.5] RIP: 0010:{Place("ct_int", 0)}
            [    7.6] Call Trace:
            [    7.6]  <TASK>
            [    7.6]  {Place("outer", 10)}
            [    7.6]  ? {Place("trouble", 4)}
            [    7.6]  {Place("early", 7)}
            [    7.6]  </TASK>
            """;
        LogDiagnosis diagnosis = ConsoleLogDiagnosis.Diagnose(new MemoryStream(Encoding.UTF8.GetBytes(log)), FormatLimits.Default);
        using var files = new DebugFiles([vmlinux], FormatLimits.Default);
        LogDiagnosis with = LogSources.Add(diagnosis, files);
        Assert.Equal(matchedBy, with.DebugFiles.SingleOrDefault()?.MatchedBy);
        LogCrash crash = with.Reports[0];
        Assert.Equal(matchedBy is not null, crash.Location?.Source is not null);
        if (matchedBy is null)
        {
            Assert.Contains(with.Unavailable, u => u.EndsWith("so it is of another build", StringComparison.Ordinal));
            return;
        }

        Assert.All(crash.Stack, e => Assert.Equal("fixture.c", e.Location.Source?.File));
        ulong at = debug.Symbols.Find("outer")[0].Address + 9;
        Assert.True(debug.TryLocate(at, out SourcePlace place, out _));
        Assert.Equal(place.Inlined, crash.Stack.First(e => e.Location.Function == "outer").Location.Inlined);
        Assert.Contains(" at fixture.c:", LogMarkdown.Render(with));
        Assert.Contains(" at fixture.c:", LogHtml.Render(with, "log"));
        debug.Dispose();
    }

    /// <summary>A module's file stands for itself: who makes a module has no debug information of the kernel, and what is stripped to debug information has lost its .modinfo.</summary>
    [Theory]
    [InlineData("6.1.0-9-test", 4, 0, "sizes", null)]
    [InlineData(null, 4, 0, "sizes", null)]
    [InlineData(null, 2, 0, null, "the log shows the sizes of 2 functions, too few to tell its build")]
    [InlineData("6.1.0-8-test", 4, 0, null, "it was built for kernel 6.1.0-8-test and not for 6.1.0-9-test")]
    [InlineData(null, 4, 8, null, "so it is of another build")]
    public void A_logs_frames_in_a_module_get_them_from_the_modules_file_alone(string? release, int functions, int wrong, string? matchedBy, string? whyNot)
    {
        string modinfo = release is null ? "" : $"\n__attribute__((section(\".modinfo\"), used)) static const char vermagic[] = \"vermagic={release} SMP mod_unload\";\n";
        string module = Make(["-c", "-gdwarf-5"], Compiled.Source + modinfo, "made.o"), file = _directory.File("widget.ko.debug");
        File.Move(module, file);
        using var bytes = new FileDumpBytes(file);
        Assert.True(DebugFile.TryOpen(bytes, FormatLimits.Default, out DebugFile debug, out string said), said);
        string Place(string function, ulong offset) =>
            string.Create(CultureInfo.InvariantCulture, $"{function}+0x{offset:x}/0x{debug.Symbols.Find(function)[0].Room + (function == "outer" ? (ulong)wrong : 0):x} [widget]");
        string[] calls = [Place("outer", 10), Place("trouble", 4), Place("early", 7)];
        string log = $"""
            [    7.1] BUG: kernel NULL pointer dereference, address: 0000000000000000
            [    7.2] #PF: supervisor write access in kernel mode
            [    7.4] CPU: 1 PID: 77 Comm: cat Not tainted 6.1.0-9-test #1  Debian 6.1.9-1
            [    7.5] RIP: 0010:{Place("ct_int", 0)}
            [    7.6] Call Trace:
            [    7.6]  <TASK>
            {string.Join('\n', calls.Take(functions - 1).Select(c => $"[    7.6]  {c}"))}
            [    7.6]  </TASK>
            """;
        using var files = new DebugFiles([_directory.Path], FormatLimits.Default);
        LogDiagnosis with = LogSources.Add(ConsoleLogDiagnosis.Diagnose(new MemoryStream(Encoding.UTF8.GetBytes(log)), FormatLimits.Default), files);
        Assert.Equal(matchedBy, with.DebugFiles.SingleOrDefault()?.MatchedBy);
        if (whyNot is not null)
            Assert.Contains(with.Unavailable, u => u.EndsWith(whyNot, StringComparison.Ordinal));
        else
            Assert.All(with.Reports[0].Stack, e => Assert.Equal("fixture.c", e.Location.Source?.File));
        debug.Dispose();
    }

    private static readonly string[] Linked = ["-nostdlib", "-static", "-no-pie", "-Wl,-e,ct_int"];

    private static CrashedGuest Guest() => new(new CrashSpec { Function = "ct_int" });

    private static (MachineReport Report, MachineBuilds Builds) Report(CrashedGuest g)
    {
        var machine = new StandingMachine(g.Image, g.Guest.Memory, [g.Crash.Vcpu]);
        MachineReport report = Machine.StandingReports.Of(machine.Image, machine.Memory, machine.Vcpus).Report;
        return (report, MachineBuilds.Read(machine, report, TargetLimits.Default));
    }

    /// <summary>A kernel whose ct_int lies as far behind its _text as the guest's.</summary>
    private string Vmlinux(CrashedGuest g, string buildId, string folder)
    {
        ulong behind = g.Report.Location.Address - g.Report.Location.Offset - g.Image.Meta.TextBase;
        Directory.CreateDirectory(_directory.File(folder));
        return Make([.. Linked, "-gdwarf-5", $"-Wl,--build-id=0x{buildId}"], $"{Compiled.Source}\nasm(\".globl _text\\n_text = ct_int - {behind}\");\n", Path.Combine(folder, "vmlinux"));
    }

    private string Make(string[] options, string source, string name)
    {
        (string? path, string said) = Compiled.TryMake(_directory, name, source, options);
        Assert.SkipWhen(path is null, $"gcc does not make it here: {said}");
        return Path.GetFullPath(path!);
    }
}
