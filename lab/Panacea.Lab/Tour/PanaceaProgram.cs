using System.Diagnostics;
using System.Text.Json;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Tour;

/// <summary>The panacea executable as its users start it: a process of its own, with arguments and exit codes.</summary>
/// <param name="Path">The executable.</param>
public sealed record PanaceaProgram(string Path)
{
    /// <summary>The executable that runs now.</summary>
    /// <exception cref="LabException">This process was started in a way that cannot be repeated ("dotnet panacea.dll").</exception>
    public static PanaceaProgram Self() =>
        Environment.ProcessPath is { } path && System.IO.Path.GetFileNameWithoutExtension(path) != "dotnet"
            ? new PanaceaProgram(path)
            : throw new LabException("panacea starts itself a second time and can't under \"dotnet panacea.dll\": use ./panacea");

    /// <summary>Builds the repair image of a running guest with <c>panacea image build</c>.</summary>
    /// <exception cref="LabException">It failed; the message has what it said.</exception>
    public async Task<BuiltImage> BuildImageAsync(string target, string file, CancellationToken cancel = default)
    {
        string output = await HostCommand.MustAsync(Path, ["image", "build", target, "-o", file, "--json"], null, cancel);
        try
        {
            return JsonSerializer.Deserialize(output, GuardEventJson.Default.BuiltImage) ?? throw new LabException("panacea image build --json wrote \"null\"");
        }
        catch (JsonException e)
        {
            throw new LabException("panacea image build --json wrote what is no description of an image", e);
        }
    }

    /// <summary>Starts <c>panacea --version</c> and waits for its end.</summary>
    /// <returns>Microseconds from before its start to after its end, and what it said.</returns>
    public async Task<(long Us, string Version)> StartColdAsync(CancellationToken cancel = default)
    {
        long started = Stopwatch.GetTimestamp();
        string version = await HostCommand.MustAsync(Path, ["--version"], null, cancel);
        return ((long)Stopwatch.GetElapsedTime(started).TotalMicroseconds, version.Trim());
    }
}
