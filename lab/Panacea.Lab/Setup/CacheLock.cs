namespace Panacea.Lab.Setup;

/// <summary>One of several processes at a time builds a thing in the cache; the others wait for it.</summary>
public static class CacheLock
{
    private static readonly TimeSpan Retry = TimeSpan.FromMilliseconds(100);

    /// <summary>Takes a lock by name; disposing it gives it back, and so does the end of the process.</summary>
    public static async Task<IDisposable> TakeAsync(string name, CancellationToken cancel = default)
    {
        string path = Path.Combine(LabPaths.CacheDirectory("locks"), name);
        while (true)
        {
            try
            {
                // .NET holds an exclusive flock on a file opened without sharing.
                return new FileStream(path, FileMode.OpenOrCreate, FileAccess.ReadWrite, FileShare.None);
            }
            catch (IOException)
            {
                await Task.Delay(Retry, cancel);
            }
        }
    }
}
