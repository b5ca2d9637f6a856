using System.Runtime.InteropServices;
using System.Text.Json.Nodes;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Bench;

/// <summary>A dump to be read by everybody.</summary>
/// <param name="Path">The ELF core.</param>
/// <param name="Kernel">The kernel's release.</param>
/// <param name="Bytes">Its size.</param>
/// <param name="BytesOnDisk">What of it is no hole.</param>
internal sealed partial record BenchDump(string Path, string Kernel, long Bytes, long BytesOnDisk)
{
    private const int Chunk = 1 << 20, Page = 4096;
    private static readonly TimeSpan DeathLimit = TimeSpan.FromMinutes(2);

    /// <summary>Boots a guest at work, kills its kernel, and has QEMU dump it.</summary>
    /// <param name="line">The kernel line.</param>
    /// <param name="memoryMiB">RAM of the guest.</param>
    /// <param name="sparse">Leave out pages of zeros: they become holes.</param>
    /// <param name="path">Where to.</param>
    /// <param name="report">Told what takes time.</param>
    /// <param name="cancel">Gives up.</param>
    public static async Task<BenchDump> MakeAsync(string line, int memoryMiB, bool sparse, string path, Action<string> report, CancellationToken cancel)
    {
        await using Guest guest = await Guest.StartAsync(new GuestSpec { Line = line, MemoryMiB = memoryMiB, Start = ["redis", "counter"], VmcoreInfo = true }, report, cancel);
        report($"{line}: dying, {memoryMiB} MiB");
        long mark = guest.Console.Mark();
        Task dying = guest.RunAsync("echo null-write > /dev/crashtest", TimeSpan.FromSeconds(5), cancel);
        await guest.Console.WaitForAsync("---[ end Kernel panic", DeathLimit, mark);
        try
        {
            await dying;
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            // As it should be: nobody answers any more.
        }

        report($"{line}: dumping {memoryMiB} MiB");
        string through = path;
        Task written = Task.CompletedTask;
        if (sparse)
        {
            // QEMU writes every page. Through a pipe, so that nobody has to find room for the zeros first.
            through = path + ".pipe";
            if (MakePipe(through, 0x180) != 0)
                throw new LabException($"{through} could not be made: {Marshal.GetLastPInvokeErrorMessage()}");
            written = Task.Run(() => WriteSparse(through, path, cancel), cancel);
        }

        await guest.Monitor.ExecuteAsync("stop", null, cancel);
        await guest.Monitor.ExecuteAsync("dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{through}", ["format"] = "elf" }, cancel);
        await written;
        if (sparse)
            File.Delete(through);
        return new BenchDump(path, guest.Image.Kernel.Release, new FileInfo(path).Length, await OnDiskAsync(path, cancel));
    }

    /// <summary>Copies a stream into a file whose pages of zeros are holes.</summary>
    internal static void WriteSparse(string from, string to, CancellationToken cancel)
    {
        using FileStream input = new(from, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, 1), output = new(to, FileMode.Create, FileAccess.Write, FileShare.Read, 1);
        byte[] buffer = new byte[Chunk];
        long at = 0;
        while (true)
        {
            int read = input.ReadAtLeast(buffer, Chunk, throwOnEndOfStream: false);
            cancel.ThrowIfCancellationRequested();
            for (int start = 0; start < read;)
            {
                int end = start;
                while (end < read && buffer.AsSpan(end, Math.Min(Page, read - end)).ContainsAnyExcept((byte)0))
                    end = Math.Min(end + Page, read);
                if (end > start)
                {
                    output.Position = at + start;
                    output.Write(buffer.AsSpan(start, end - start));
                }

                start = Math.Min(end + Page, read);
            }

            at += read;
            if (read < Chunk)
                break;
        }

        output.SetLength(at);
    }

    private static async Task<long> OnDiskAsync(string path, CancellationToken cancel)
    {
        string blocks = await Setup.HostCommand.MustAsync("stat", ["-c", "%b", path], null, cancel);
        return long.Parse(blocks, System.Globalization.CultureInfo.InvariantCulture) * 512;
    }

    [LibraryImport("libc", EntryPoint = "mkfifo", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int MakePipe(string path, uint mode);
}
