using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Campaign.Runs;

/// <summary>Passes of fio have to go on, none may have read anything else than it had written, and the last has to be there when it is read once more: in the guest, and on the disk of one that was shut down.</summary>
/// <param name="guest">The guest.</param>
internal sealed partial class FioRun(Guest guest) : IWorkloadRun
{
    private readonly GuestCount _passes = new(guest, "fio", "pass of fio ended well");
    private long _last;

    /// <inheritdoc/>
    public async Task<(IReadOnlyList<string> Failures, IReadOnlyList<string> Lost)> FinishAsync(TimeSpan limit, CancellationToken cancel)
    {
        var failures = new List<string>();
        IReadOnlyList<string> wrong = [];
        try
        {
            wrong = await _passes.WrongAsync(limit, cancel);
            await _passes.WaitForMoreAsync(limit, cancel);
            GuestCommandResult told = await guest.RunAsync("start-fio check", limit, cancel);
            _last = await _passes.ReadAsync(limit, cancel);
            wrong = await _passes.WrongAsync(limit, cancel);
            if (Mismatches(told.Output) is { Count: > 0 } mismatches)
                wrong = [.. wrong, .. mismatches];
            else if (!told.Succeeded)
                failures.Add($"fio: the last pass can't be read: {told.Output.Trim()}");
        }
        catch (Exception e) when (e is IOException or TimeoutException or LabException)
        {
            failures.Add($"fio: {e.Message}");
        }

        return (failures, wrong);
    }

    /// <inheritdoc/>
    public async Task<IReadOnlyList<string>> CheckDiskAsync(string disk, CancellationToken cancel)
    {
        string directory = LabPaths.NewRunDirectory(), file = Path.Combine(directory, "file"), job = Path.Combine(directory, "job"), pass = _last.ToString(CultureInfo.InvariantCulture);
        try
        {
            await File.WriteAllBytesAsync(file, await DiskImage.ReadFileAsync(disk, $"/fio.{_last % 2}", cancel), cancel);
            await File.WriteAllBytesAsync(job, Resources.Read("guest/fio.job"), cancel);
            UnpackedPackage fio = await UnpackedPackage.GetAsync("fio", null, cancel);
            HostCommandResult told = await HostCommand.RunAsync("env", [$"LD_LIBRARY_PATH={fio.LibraryPath}", $"FILE={file}", $"PASS={pass}", fio.Program("fio"), job, "--verify_only"], directory, cancel);
            return told.ExitCode == 0 ? [] : Mismatches(told.Output + told.Error) is { Count: > 0 } wrong ? wrong : [$"fio: pass {pass} can't be read from the disk: {told.Error.Trim()}"];
        }
        finally
        {
            Directory.Delete(directory, true);
        }
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync() => ValueTask.CompletedTask;

    /// <summary>What fio says of data that is not what it wrote (fio's verify.c): "verify: bad header…", "crc32c: verify failed at file…".</summary>
    internal static IReadOnlyList<string> Mismatches(string output) => [.. Mismatch().Matches(output).Select(m => $"fio: {m.Value.Trim()}")];

    [GeneratedRegex("^.*verify( failed|:).*$", RegexOptions.Multiline)]
    private static partial Regex Mismatch();
}
