using System.Text.Json;
using Panacea.Target.Qemu.HostMemory;
using Panacea.Target.Qemu.Native;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.Clone;

/// <summary>All that is to be known of a VM to start a copy of it, as it is configured at one moment.</summary>
/// <param name="Program">QEMU's executable.</param>
/// <param name="Arguments">The command line of the original, without the program.</param>
/// <param name="Disks">What its disks hold.</param>
/// <param name="Memory">The files of its memory, each by the id of its backend.</param>
/// <param name="IsMemoryOwn">Those files are the copy's alone (<see cref="MemoryCopy"/>); else they are the original's.</param>
public sealed record CloneRecipe(string Program, IReadOnlyList<string> Arguments, IReadOnlyList<CloneDisk> Disks, IReadOnlyDictionary<string, string> Memory, bool IsMemoryOwn = false)
{
    /// <summary>What a VM needs to be copied in no time, for people.</summary>
    public const string SharedMemory = "start QEMU with -object memory-backend-memfd,id=ram,size=…,share=on -machine memory-backend=ram (libvirt: <memoryBacking><source type='memfd'/><access mode='shared'/></memoryBacking>)";

    /// <summary>Reads it of a VM. Stops nothing; takes some milliseconds.</summary>
    /// <exception cref="CloneException">A copy of this VM can't be made; says why.</exception>
    /// <exception cref="TargetException">QEMU does not answer.</exception>
    public static CloneRecipe Of(QemuTarget target) => Of(target.Qmp, target.Pid);

    internal static CloneRecipe Of(QmpClient qmp, int pid)
    {
        string[] words = QmpSocketFinder.ReadCommandLine(pid);
        if (words.Length == 0)
            throw new CloneException($"QEMU (pid {pid}) has no command line that could be used again");
        string[] arguments = words[1..];
        return new CloneRecipe(ProgramOf(pid), arguments, DisksOf(qmp, pid), MemoryOf(QemuMemoryMapper.Locate(qmp), ProcessMapping.ReadAll(pid), pid, arguments));
    }

    /// <summary>The very executable that runs: where it has been replaced since, what is left of it in memory.</summary>
    private static string ProgramOf(int pid)
    {
        string running = $"/proc/{pid}/exe";
        return new FileInfo(running).LinkTarget is { } path && Libc.TryStat(path, followLinks: true, out Libc.FileIdentity here) && Libc.TryStat(running, followLinks: true, out Libc.FileIdentity there)
            && (here.Inode, here.DeviceMajor, here.DeviceMinor) == (there.Inode, there.DeviceMajor, there.DeviceMinor) ? path : running;
    }

    /// <summary>QEMU's answer to query-block (qapi/block-core.json, BlockInfo).</summary>
    internal static IReadOnlyList<CloneDisk> DisksOf(QmpClient qmp, int pid)
    {
        var disks = new List<CloneDisk>();
        foreach (JsonElement block in QmpJson.Elements(qmp.Execute("query-block")))
        {
            string backend = QmpJson.Text(block, "device") ?? "", device = QmpJson.Text(block, "qdev") ?? "";
            if (!block.TryGetProperty("inserted", out JsonElement inserted))
            {
                disks.Add(new CloneDisk(backend, "", device, null, null, false, false));
                continue;
            }

            string? name = inserted.TryGetProperty("image", out JsonElement image) ? QmpJson.Text(image, "filename") : null;
            name ??= QmpJson.Text(inserted, "file");
            bool isHostDevice = false;
            if (name is not null && !name.StartsWith("json:", StringComparison.Ordinal) && !name.Contains("://", StringComparison.Ordinal))
                (name, isHostDevice) = Found(pid, name);
            string? format = QmpJson.Text(inserted, "drv");
            disks.Add(new CloneDisk(
                backend, QmpJson.Text(inserted, "node-name") ?? "", device, QmpJson.Flag(inserted, "encrypted") == true ? "luks" : format, name, isHostDevice, QmpJson.Flag(inserted, "ro") == true));
        }

        return disks;
    }

    /// <summary>A file as this process can open it: QEMU's own directory and file system may be others.</summary>
    private static (string Path, bool IsHostDevice) Found(int pid, string name)
    {
        string there = name.StartsWith('/') ? name : $"/proc/{pid}/cwd/{name}";
        foreach (string path in (ReadOnlySpan<string>)[there, $"/proc/{pid}/root{there}"])
        {
            if (Libc.TryStat(path, followLinks: true, out Libc.FileIdentity identity))
                return (path, identity.IsBlockDevice);
        }

        throw new CloneException($"a copy of this VM can't be made: its disk {name} is not to be seen from here");
    }

    /// <summary>The file behind each memory backend, through QEMU's own descriptor of it.</summary>
    private static Dictionary<string, string> MemoryOf(IReadOnlyList<QemuMemoryMapper.Located> located, IReadOnlyList<ProcessMapping> mappings, int pid, IReadOnlyList<string> arguments)
    {
        var files = new Dictionary<string, string>(StringComparer.Ordinal);
        foreach (QemuMemoryMapper.Located run in located.Where(r => !r.Flat.IsReadOnly))
        {
            // Of a memory backend the region has the id, or its place in the object tree.
            string id = run.Flat.Name[(run.Flat.Name.LastIndexOf('/') + 1)..];
            if (files.ContainsKey(id))
                continue;
            ProcessMapping mapping = mappings.FirstOrDefault(m => run.HostAddress >= m.Start && run.HostAddress < m.End);
            if (!mapping.IsShared || mapping.Inode == 0)
                throw new CloneException($"this VM's memory is private to its QEMU, so that no copy of it can be made while it stands: {SharedMemory}");
            if (mapping.FileOffset != 0)
                throw new CloneException($"a copy of this VM can't be made: its memory {id} begins in the middle of a file");
            files.Add(id, PathOf(pid, mapping) ?? throw new CloneException($"a copy of this VM can't be made: the file of its memory {id} can't be opened by this user"));
        }

        foreach (string id in Backends(arguments).Where(id => !files.ContainsKey(id)))
            throw new CloneException($"a copy of this VM can't be made: its memory {id} is not mapped as a whole at the moment");
        return files;
    }

    private static IEnumerable<string> Backends(IReadOnlyList<string> arguments)
    {
        for (int i = 0; i + 1 < arguments.Count; i++)
        {
            if (arguments[i] is "-object" or "--object" && QemuOption.Parse(arguments[i + 1], "qom-type") is var option && option["qom-type"]?.StartsWith("memory-backend-", StringComparison.Ordinal) == true)
                yield return option["id"] ?? "";
        }
    }

    private static string? PathOf(int pid, ProcessMapping mapping)
    {
        try
        {
            return Directory.EnumerateFileSystemEntries($"/proc/{pid}/fd").FirstOrDefault(link => Libc.TryStat(link, followLinks: true, out Libc.FileIdentity identity)
                && identity.Inode == mapping.Inode && identity.DeviceMajor == mapping.DeviceMajor && identity.DeviceMinor == mapping.DeviceMinor);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            return null;
        }
    }
}
