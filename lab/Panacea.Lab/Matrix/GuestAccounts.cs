using System.Globalization;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Matrix;

/// <summary>What a guest has in use, by its own /proc: what a crash could leave behind.</summary>
/// <param name="Processes">Processes.</param>
/// <param name="Threads">Threads, of the kernel too.</param>
/// <param name="Files">Open files (fs.file-nr).</param>
/// <param name="AvailableKiB">MemAvailable, after caches were dropped.</param>
/// <param name="SlabKiB">SUnreclaim: memory of the kernel's own objects.</param>
/// <param name="StacksKiB">KernelStack.</param>
public sealed record GuestAccounts(int Processes, int Threads, int Files, long AvailableKiB, long SlabKiB, long StacksKiB)
{
    /// <summary>Asks the guest. The commands that ask are counted too, each time the same.</summary>
    /// <exception cref="LabException">It answered something else.</exception>
    public static async Task<GuestAccounts> ReadAsync(Guest guest, CancellationToken cancel = default)
    {
        // What ends is freed after a grace period of RCU, or by a worker.
        const string Command = "sync; echo 3 > /proc/sys/vm/drop_caches; sleep 1; ls -d /proc/[0-9]* | wc -l; ls -d /proc/[0-9]*/task/* | wc -l; cat /proc/sys/fs/file-nr; grep -E '^(MemAvailable|SUnreclaim|KernelStack):' /proc/meminfo";
        GuestCommandResult answer = await guest.RunAsync(Command, TimeSpan.FromSeconds(30), cancel);
        string[] words = answer.Output.Split([' ', '\t', '\n', '\r'], StringSplitOptions.RemoveEmptyEntries);
        long After(string name) => Array.IndexOf(words, name) is >= 0 and var at && at + 1 < words.Length ? long.Parse(words[at + 1], CultureInfo.InvariantCulture) : throw new LabException($"the guest does not tell {name}: {answer.Output}");
        return words.Length < 5 ? throw new LabException($"the guest does not tell what it has in use: {answer.Output}")
            : new GuestAccounts(int.Parse(words[0], CultureInfo.InvariantCulture), int.Parse(words[1], CultureInfo.InvariantCulture), int.Parse(words[2], CultureInfo.InvariantCulture), After("MemAvailable:"), After("SUnreclaim:"), After("KernelStack:"));
    }
}
