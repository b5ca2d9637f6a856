using Panacea.Cli.CommandLine;
using Panacea.Diagnosis;
using Panacea.Diagnosis.ConsoleLog;
using Panacea.Diagnosis.DebugInfo;
using Panacea.Diagnosis.Machine;
using Panacea.Diagnosis.Rendering;
using Panacea.Diagnosis.Validators;
using Panacea.Formats;
using Panacea.Formats.Vmcore;
using Panacea.Repair;
using Panacea.Target;

namespace Panacea.Cli.Services;

/// <summary>Diagnoses running guests, dumps and console logs by the same engine.</summary>
internal sealed class KernelDiagnosis : IDiagnosisService
{
    /// <summary>Time for the kernel's structures; a dump of a machine with many tasks takes longest.</summary>
    private static readonly TimeSpan StructureBudget = TimeSpan.FromSeconds(3);

    /// <inheritdoc/>
    public DiagnosisAnswer Diagnose(SourceName source, DiagnosisOptions options, CancellationToken cancel)
    {
        source = source.Found();
        using var debug = new DebugFiles([.. options.DebugInfo.Select(FoundDebugInfo)], FormatLimits.Default);
        if (source.IsStandardInput)
        {
            using Stream input = Console.OpenStandardInput();
            return OfLog(input, options, debug);
        }

        if (source.Files is [var only] && IsText(only))
        {
            using FileStream log = File.OpenRead(only);
            return OfLog(log, options, debug);
        }

        using IKernelSource kernel = KernelSources.Open(source, cancel);
        var reporter = new MachineReporter(kernel.Image, TargetLimits.Default);

        // A running guest stands still for no longer than what has to be of one moment takes; the report is written after it goes on.
        bool goesOn = kernel.Kind != SourceKind.Dump;
        if (goesOn)
            reporter.Rehearse(kernel.Memory);
        MachineCapture capture = kernel.Hold(
            machine =>
            {
                // Modules on their way in or out are known only of a machine that stands still.
                if (machine.Image != kernel.Image)
                    reporter = new MachineReporter(machine.Image, TargetLimits.Default);
                return reporter.Capture(machine, goesOn);
            }, cancel);
        MachineReport report = reporter.Write(
            capture, kernel.Memory, goesOn ? StateMoment.Running : StateMoment.Standing, source.Text, kernel.Kind, kernel.Description);
        if (capture.Evidence is { } evidence)
            report = report with { Recoverability = Recoverability.Judge(evidence) };
        report = report with { Missing = [.. kernel.Missing, .. report.Missing] };

        // A running guest goes on by now: it is looked at as panacea check does, and not held for it.
        var context = new CheckContext(kernel.Image.KernelOver(kernel.Memory), TargetLimits.Default) { IsLive = goesOn, MaxObjects = StructureReport.MaxObjects, Cancel = cancel };
        report = report.With(StructureReport.Of(context, StructureBudget));
        if (options.DebugInfo.Count > 0)
            report = MachineSources.Add(report, MachineBuilds.Read(new StandingMachine(kernel.Image, kernel.Memory, []), report, TargetLimits.Default), debug);
        return new DiagnosisAnswer(options.KnownIssues.Add(report), null);
    }

    private static DiagnosisAnswer OfLog(Stream log, DiagnosisOptions options, DebugFiles debug)
    {
        LogDiagnosis diagnosis = ConsoleLogDiagnosis.Diagnose(log, FormatLimits.Default);
        if (options.DebugInfo.Count > 0)
            diagnosis = LogSources.Add(diagnosis, debug);
        return new DiagnosisAnswer(null, options.KnownIssues.Add(diagnosis));
    }

    private static string FoundDebugInfo(string path) => File.Exists(path) || Directory.Exists(path)
        ? Path.GetFullPath(path) : throw new CliException(ExitCodes.Usage, $"there is no directory or file '{Safe.Text(path, 256)}' with debug information");

    /// <summary>A log is text, with some NULs and escapes of a serial line at most. Dumps begin with a mark that holds bytes no text has, or with memory, of which much is zero.</summary>
    private static bool IsText(string file)
    {
        using FileStream stream = File.OpenRead(file);
        byte[] start = new byte[DumpDetector.LookBytes];
        int length = stream.ReadAtLeast(start, start.Length, throwOnEndOfStream: false);
        ReadOnlySpan<byte> look = start.AsSpan(0, length);
        if (DumpDetector.IsMarked(look))
            return false;

        // UTF-16, as some Windows tools save a terminal.
        if (look.StartsWith((ReadOnlySpan<byte>)[0xff, 0xfe]))
            return true;
        int odd = 0;
        foreach (byte b in look)
            odd += b is < 0x20 and not ((byte)'\n' or (byte)'\r' or (byte)'\t' or 0x1b) ? 1 : 0;
        return odd * 20 <= length;
    }
}
