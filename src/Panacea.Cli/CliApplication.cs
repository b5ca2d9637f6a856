using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Target;

namespace Panacea.Cli;

/// <summary>The whole program but for its process: arguments in, exit code out. This is the boundary where exceptions become sentences.</summary>
internal static class CliApplication
{
    /// <summary>Version of this build, such as <c>0.1.0</c>.</summary>
    public static string Version { get; } =
        System.Reflection.CustomAttributeExtensions.GetCustomAttribute<System.Reflection.AssemblyInformationalVersionAttribute>(typeof(CliApplication).Assembly)?.InformationalVersion ?? "0.0.0";

    /// <summary>Parses and runs.</summary>
    public static int Run(string[] args, CliConsole console, CliServices services)
    {
        int code = RunUnflushed(args, console, services);
        try
        {
            console.Out.Flush();
            return code;
        }
        catch (BrokenPipeException)
        {
            return ExitCodes.BrokenPipe;
        }
        catch (IOException failure) when (code == ExitCodes.Ok)
        {
            // An answer that was not written out is no answer.
            console.ErrorLine($"standard output could not be written: {failure.Message}");
            return ExitCodes.Failure;
        }
        catch (IOException)
        {
            return code;
        }
    }

    private static int RunUnflushed(string[] args, CliConsole console, CliServices services)
    {
        try
        {
            // The commonest question of scripts needs no parser.
            if (args is ["--version"])
            {
                console.Out.WriteLine($"panacea {Version}");
                return ExitCodes.Ok;
            }

            RootCommand root = PanaceaCommandLine.Create(console, services);
            ParseResult parsed = root.Parse(args, PanaceaCommandLine.Parser);
            if (parsed.Errors.Count > 0 && !PanaceaCommandLine.AnswersInstead(parsed))
                return UsageErrors.Report(parsed, console);
            return parsed.Invoke(new InvocationConfiguration
            {
                Output = console.Out,
                Error = console.Error,
                EnableDefaultExceptionHandler = false,
                ProcessTerminationTimeout = null,
            });
        }
        catch (Exception failure)
        {
            return Report(failure, console);
        }
    }

    /// <summary>Says what went wrong; one line for a user's mistake or a guest's, two for a bug.</summary>
    internal static int Report(Exception failure, CliConsole console)
    {
        (int code, string message) = failure switch
        {
            CliException e => (e.ExitCode, e.Message),
            BrokenPipeException => (ExitCodes.BrokenPipe, ""),
            OperationCanceledException => (ExitCodes.Interrupted, "interrupted"),
            RepairImageException e => (ExitCodes.Image, e.Message),
            TargetException or GuestMemoryException or NotLinuxException or KernelShapeException => (ExitCodes.Target, failure.Message),
            UnauthorizedAccessException or IOException => (ExitCodes.Failure, failure.Message),
            _ => (ExitCodes.Bug, $"a bug in panacea {Version}: {failure.GetType().Name}: {failure.Message}"),
        };
        if (code != ExitCodes.BrokenPipe)
            console.ErrorLine(message);
        if (code == ExitCodes.Bug)
            console.Note("Please report it with the command you ran; PANACEA_DEBUG=1 shows where it happened.");

        if (Environment.GetEnvironmentVariable("PANACEA_DEBUG") == "1")
            console.Trace(failure);
        return code;
    }
}
