using System.Diagnostics;
using System.Text;

namespace Panacea.Lab.Setup;

/// <summary>What a program on the host answered.</summary>
/// <param name="ExitCode">Its exit status.</param>
/// <param name="Output">Standard output, as UTF-8.</param>
/// <param name="Error">Standard error, as UTF-8.</param>
public sealed record HostCommandResult(int ExitCode, string Output, string Error);

/// <summary>Runs programs on the host without a shell.</summary>
public static class HostCommand
{
    /// <summary>Runs a program to its end, whatever its exit status.</summary>
    /// <exception cref="LabException">There is no such program.</exception>
    public static async Task<HostCommandResult> RunAsync(
        string program, IReadOnlyList<string> arguments, string? directory = null, CancellationToken cancel = default)
    {
        using var output = new MemoryStream();
        (int code, string error) = await RunCoreAsync(program, arguments, directory, output, cancel);
        return new HostCommandResult(code, Encoding.UTF8.GetString(output.GetBuffer(), 0, (int)output.Length), error);
    }

    /// <summary>Runs a program that has to succeed.</summary>
    /// <returns>Its standard output.</returns>
    /// <exception cref="LabException">There is no such program, or it failed; the message has the end of what it said.</exception>
    public static async Task<string> MustAsync(
        string program, IReadOnlyList<string> arguments, string? directory = null, CancellationToken cancel = default)
    {
        HostCommandResult result = await RunAsync(program, arguments, directory, cancel);
        return result.ExitCode == 0 ? result.Output : throw Failed(program, arguments, result);
    }

    /// <summary>Runs a program that has to succeed and returns its standard output as bytes.</summary>
    public static async Task<byte[]> MustBytesAsync(
        string program, IReadOnlyList<string> arguments, CancellationToken cancel = default)
    {
        using var output = new MemoryStream();
        (int code, string error) = await RunCoreAsync(program, arguments, null, output, cancel);
        return code == 0 ? output.ToArray() : throw Failed(program, arguments, new HostCommandResult(code, "", error));
    }

    /// <summary>Runs a program that has to succeed and hands its standard output, while it is being written, to a reader.</summary>
    /// <returns>What the reader made of it.</returns>
    /// <exception cref="LabException">There is no such program, or it failed.</exception>
    public static async Task<T> ReadOutputAsync<T>(
        string program, IReadOnlyList<string> arguments, Func<Stream, CancellationToken, Task<T>> read, CancellationToken cancel = default)
    {
        T? made = default;
        (int code, string error) = await RunCoreAsync(program, arguments, null, async (output, token) =>
        {
            made = await read(output, token);
            // A program that can't write any more would fail.
            await output.CopyToAsync(Stream.Null, token);
        }, cancel);
        return code == 0 ? made! : throw Failed(program, arguments, new HostCommandResult(code, "", error));
    }

    /// <summary>The path of a program, or null where it is not installed. Looks into the system directories too, which are not on every user's PATH.</summary>
    public static string? Find(string program)
    {
        string path = Environment.GetEnvironmentVariable("PATH") ?? "";
        return path.Split(':', StringSplitOptions.RemoveEmptyEntries)
            .Concat(["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"])
            .Select(d => Path.Combine(d, program))
            .FirstOrDefault(File.Exists);
    }

    private static LabException Failed(string program, IReadOnlyList<string> arguments, HostCommandResult result)
    {
        string said = (result.Error + result.Output).Trim();
        return new LabException($"{program} {string.Join(' ', arguments)} failed with status {result.ExitCode}: {said[Math.Max(0, said.Length - 2000)..]}");
    }

    private static Task<(int Code, string Error)> RunCoreAsync(
        string program, IReadOnlyList<string> arguments, string? directory, Stream output, CancellationToken cancel) =>
        RunCoreAsync(program, arguments, directory, (said, token) => said.CopyToAsync(output, token), cancel);

    private static async Task<(int Code, string Error)> RunCoreAsync(
        string program, IReadOnlyList<string> arguments, string? directory, Func<Stream, CancellationToken, Task> read, CancellationToken cancel)
    {
        var start = new ProcessStartInfo(Find(program) ?? throw new LabException($"{program} is not installed"), arguments)
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            WorkingDirectory = directory ?? "",
        };
        start.Environment["LC_ALL"] = "C";
        using Process process = Process.Start(start) ?? throw new LabException($"{program} did not start");
        try
        {
            process.StandardInput.Close();
            Task<string> error = process.StandardError.ReadToEndAsync(cancel);
            await read(process.StandardOutput.BaseStream, cancel);
            string said = await error;
            await process.WaitForExitAsync(cancel);
            return (process.ExitCode, said);
        }
        catch
        {
            process.Kill(entireProcessTree: true);
            throw;
        }
    }
}
