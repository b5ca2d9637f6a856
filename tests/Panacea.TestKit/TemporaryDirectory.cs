namespace Panacea.TestKit;

/// <summary>A directory that is gone after the test.</summary>
public sealed class TemporaryDirectory : IDisposable
{
    /// <summary>Makes it.</summary>
    public TemporaryDirectory() => Path = Directory.CreateTempSubdirectory("panacea-test-").FullName;

    /// <summary>Where it is.</summary>
    public string Path { get; }

    /// <summary>A path in it.</summary>
    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <inheritdoc/>
    public void Dispose()
    {
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (IOException)
        {
            // A mapping may hold a file; the system's own cleaning takes the rest.
        }
    }
}
