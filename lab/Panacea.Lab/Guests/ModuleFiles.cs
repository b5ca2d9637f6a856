using Panacea.Lab.Setup;

namespace Panacea.Lab.Guests;

/// <summary>Finds a kernel's modules and what they depend on (modules.dep, modules.builtin of depmod).</summary>
internal sealed class ModuleFiles
{
    private readonly KernelInstallation _kernel;
    private readonly Dictionary<string, (string Path, string[] Needs)> _byName = [];
    private readonly HashSet<string> _builtin;

    public ModuleFiles(KernelInstallation kernel)
    {
        _kernel = kernel;
        foreach (string line in File.ReadLines(Path.Combine(kernel.Modules, "modules.dep")))
        {
            int colon = line.IndexOf(':', StringComparison.Ordinal);
            if (colon > 0)
                _byName[NameOf(line[..colon])] = (line[..colon], line[(colon + 1)..].Split(' ', StringSplitOptions.RemoveEmptyEntries));
        }

        _builtin = [.. File.ReadLines(Path.Combine(kernel.Modules, "modules.builtin")).Select(NameOf)];
    }

    /// <summary>The module files to load for some modules by name, dependencies first; built-in ones are left out.</summary>
    /// <exception cref="LabException">The kernel has no such module.</exception>
    public IReadOnlyList<string> LoadOrder(IEnumerable<string> names)
    {
        var order = new List<string>();
        foreach (string name in names)
        {
            if (_builtin.Contains(name))
                continue;
            if (!_byName.TryGetValue(name, out (string Path, string[] Needs) module))
                throw new LabException($"kernel {_kernel.Release} has no module {name}");
            // modules.dep lists what is needed last first.
            foreach (string path in module.Needs.Reverse().Append(module.Path))
            {
                if (!order.Contains(path))
                    order.Add(path);
            }
        }

        return order;
    }

    /// <summary>A module's name as the kernel knows it, from its file.</summary>
    public static string NameOf(string path)
    {
        string file = Path.GetFileName(path);
        int dot = file.IndexOf(".ko", StringComparison.Ordinal);
        return (dot < 0 ? file : file[..dot]).Replace('-', '_');
    }

    /// <summary>A module's ELF bytes, decompressed where the distribution compresses modules.</summary>
    public async Task<byte[]> ReadAsync(string path, CancellationToken cancel)
    {
        string full = Path.Combine(_kernel.Modules, path);
        return Path.GetExtension(path) switch
        {
            ".xz" => await HostCommand.MustBytesAsync("xz", ["-dc", full], cancel),
            ".zst" => await HostCommand.MustBytesAsync("zstd", ["-dcq", full], cancel),
            ".gz" => await HostCommand.MustBytesAsync("gzip", ["-dc", full], cancel),
            _ => await File.ReadAllBytesAsync(full, cancel),
        };
    }
}
