using System.Buffers.Binary;
using System.Globalization;
using Panacea.Lab.Guests;

namespace Panacea.Lab.Workloads;

/// <summary>The process in the guest that writes and fsyncs numbered records to ext4 (lab/guest/recorder.c), and what it promised.</summary>
public sealed class RecordLoad : IAsyncDisposable
{
    /// <summary>Size of a record in bytes.</summary>
    public const int RecordSize = 64;

    private readonly CancellationTokenSource _stop = new();
    private readonly TaskCompletionSource _first = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly List<string> _messages = [];
    private readonly Task _loop;
    private long _promised;

    private RecordLoad(Guest guest, string name)
    {
        FileName = name;
        _loop = Task.Run(() => FollowAsync(guest, name));
    }

    /// <summary>The file below the disk's root.</summary>
    public string FileName { get; }

    /// <summary>The highest record number that the guest promised to be on the disk; they begin at 1.</summary>
    public long Promised => Interlocked.Read(ref _promised);

    /// <summary>What the recorder said besides numbers: writes that failed.</summary>
    public IReadOnlyList<string> Messages
    {
        get
        {
            lock (_messages)
                return [.. _messages];
        }
    }

    /// <summary>Starts the recorder in the guest and waits for its first record.</summary>
    public static async Task<RecordLoad> StartAsync(Guest guest, string name = "records", TimeSpan? timeout = null, CancellationToken cancel = default)
    {
        var load = new RecordLoad(guest, name);
        try
        {
            await load._first.Task.WaitAsync(timeout ?? TimeSpan.FromSeconds(30), cancel);
            return load;
        }
        catch
        {
            await load.DisposeAsync();
            throw;
        }
    }

    /// <summary>Completes when the guest has promised <paramref name="more"/> further records.</summary>
    /// <exception cref="TimeoutException">It has not in time.</exception>
    public async Task WaitForRecordsAsync(int more, TimeSpan timeout, CancellationToken cancel = default)
    {
        long goal = Promised + more;
        long deadline = Environment.TickCount64 + (long)timeout.TotalMilliseconds;
        while (Promised < goal)
        {
            if (Environment.TickCount64 > deadline)
                throw new TimeoutException($"the guest did not write {more} records within {timeout.TotalSeconds:0.#} s");
            await Task.Delay(5, cancel);
        }
    }

    /// <summary>What a guest is asked to get a file in Base64 to which somebody adds meanwhile: as much as there was when it began. BusyBox' base64 ends its text where it comes to the end of the file, and goes on behind that with what has been added.</summary>
    /// <param name="path">The file, without characters that a shell makes something of.</param>
    public static string ReadCommand(string path) => $"set -o pipefail; head -c $(wc -c < {path}) {path} | base64";

    /// <summary>Checks the records on the disk of a guest that is shut down.</summary>
    /// <returns>What is wrong; empty when every promised record is there and intact.</returns>
    public async Task<IReadOnlyList<string>> VerifyAsync(string diskPath, CancellationToken cancel = default) =>
        Check(await DiskImage.ReadFileAsync(diskPath, "/" + FileName, cancel), Promised);

    /// <summary>Checks records as they lie in their file.</summary>
    /// <param name="file">The file's bytes.</param>
    /// <param name="promised">The highest number that was promised.</param>
    /// <returns>
    /// What is wrong, at most 20 lines. Records past the promised ones have to be intact too, but for the last: it may be cut, and it may be zeros, because the length of the file reaches the disk
    /// with a commit of the journal that another process has asked for, before the data does (ext4 with delayed allocation, data=ordered, a block that is mapped already).
    /// </returns>
    public static IReadOnlyList<string> Check(ReadOnlySpan<byte> file, long promised)
    {
        var wrong = new List<string>();
        long whole = file.Length / RecordSize;
        if (whole < promised)
            wrong.Add($"{promised} records were promised, {whole} are there");
        for (int i = 0; i < whole && wrong.Count < 20; i++)
        {
            ReadOnlySpan<byte> record = file.Slice(i * RecordSize, RecordSize);
            if (!IsIntact(record, (ulong)i + 1) && !(i + 1 == whole && i >= promised && !record.ContainsAnyExcept((byte)0)))
                wrong.Add($"record {i + 1} is damaged");
        }

        return wrong;
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        await _stop.CancelAsync();
        await _loop;
        _stop.Dispose();
    }

    private static bool IsIntact(ReadOnlySpan<byte> record, ulong number)
    {
        ulong hash = 0xcbf29ce484222325;
        foreach (byte b in record[..56])
            hash = unchecked((hash ^ b) * 0x100000001b3);
        return record.StartsWith("PNCA"u8) && BinaryPrimitives.ReadUInt64LittleEndian(record[8..]) == number
            && BinaryPrimitives.ReadUInt64LittleEndian(record[56..]) == hash;
    }

    private async Task FollowAsync(Guest guest, string name)
    {
        try
        {
            await foreach (string line in guest.Control.StreamLinesAsync($"exec recorder /data/{name}", _stop.Token))
            {
                if (long.TryParse(line, NumberStyles.None, CultureInfo.InvariantCulture, out long number))
                {
                    Interlocked.Exchange(ref _promised, number);
                    _first.TrySetResult();
                }
                else
                {
                    lock (_messages)
                        _messages.Add(line);
                }
            }

            _first.TrySetException(new LabException($"the recorder ended: {string.Join("; ", Messages)}"));
        }
        catch (Exception e) when (e is OperationCanceledException or IOException or System.Net.Sockets.SocketException)
        {
            _first.TrySetException(new LabException("the recorder could not be started", e));
        }
    }
}
