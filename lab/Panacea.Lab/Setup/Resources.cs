using System.Reflection;

namespace Panacea.Lab.Setup;

/// <summary>The files that travel inside the assembly: sources of what runs in the guests.</summary>
internal static class Resources
{
    /// <summary>Names of all below a folder ("guest", "crashtest"), in a fixed order.</summary>
    public static IReadOnlyList<string> Names(string folder) =>
        [.. typeof(Resources).Assembly.GetManifestResourceNames().Where(n => n.StartsWith(folder + "/", StringComparison.Ordinal)).Order(StringComparer.Ordinal)];

    /// <summary>One file's bytes.</summary>
    public static byte[] Read(string name)
    {
        Assembly assembly = typeof(Resources).Assembly;
        using Stream stream = assembly.GetManifestResourceStream(name) ?? throw new LabException($"{name} is not in {assembly.GetName().Name}");
        byte[] bytes = new byte[stream.Length];
        stream.ReadExactly(bytes);
        return bytes;
    }
}
