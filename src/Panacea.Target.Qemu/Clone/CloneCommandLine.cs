using System.Globalization;

namespace Panacea.Target.Qemu.Clone;

/// <summary>
/// QEMU's command line for a copy of a VM: the same machine, so that the state of its devices fits, with nothing of the original's outside world. Memory becomes a private mapping of the original's, disks get an overlay that
/// goes with the process, networks lead nowhere, monitors and displays are dropped. A machine of which something lives outside of QEMU (a passed-through device, a TPM, a shared file system) is refused.
/// </summary>
public static class CloneCommandLine
{
    /// <summary>Options without a value (qemu-options.hx).</summary>
    private static readonly HashSet<string> Flags = new(StringComparer.Ordinal)
    {
        "nodefaults", "no-user-config", "no-reboot", "no-shutdown", "no-hpet", "no-acpi", "no-fd-bootchk", "enable-kvm", "usb", "mem-prealloc", "S", "s", "daemonize", "nographic", "snapshot", "curses", "full-screen",
        "portrait", "no-quit", "preconfig", "singlestep", "only-migratable", "win2k-hack", "help", "h", "version", "async-teardown", "enable-fips", "no-frame", "alt-grab", "ctrl-grab", "old-param",
    };

    /// <summary>What is the original's alone: who talks to it, how it was started, what is shown of it.</summary>
    private static readonly HashSet<string> Dropped = new(StringComparer.Ordinal)
    {
        "S", "s", "daemonize", "nographic", "snapshot", "curses", "full-screen", "portrait", "no-quit", "preconfig", "singlestep", "only-migratable", "no-frame", "alt-grab", "ctrl-grab", "async-teardown",
        "gdb", "qmp", "qmp-pretty", "monitor", "mon", "pidfile", "incoming", "loadvm", "vnc", "spice", "display", "D", "d", "dfilter", "trace", "name", "chroot", "runas", "user", "run-with", "plugin", "add-fd",
        "mem-prealloc",
    };

    /// <summary>Devices of which the state, or the device, is not in QEMU (docs/devel/migration).</summary>
    private static readonly (string Prefix, string What)[] Outside =
    [
        ("vfio-", "a device of the host that is passed through"), ("usb-host", "a USB device of the host that is passed through"), ("usb-redir", "a redirected USB device"), ("vhost-user-", "a device that another process serves"),
        ("vhost-vsock", "a vsock, whose address a copy can't share"), ("vhost-scsi", "a disk that the host's kernel serves"), ("vhost-vdpa", "a device of the host"), ("scsi-generic", "a SCSI device of the host that is passed through"),
        ("scsi-block", "a SCSI device of the host that is passed through"), ("ivshmem", "memory that is shared with others"), ("tpm-", "a TPM, whose state another process keeps"), ("virtio-9p", "a shared file system"),
        ("x-remote", "a device that another process serves"), ("ccid-card", "a smart card of the host"),
    ];

    private static readonly HashSet<string> OutsideOptions = new(StringComparer.Ordinal) { "fsdev", "virtfs", "readconfig", "tpmdev", "iscsi", "object-from-file" };

    /// <summary>The clone's command line, without the program, and without what waits for its state.</summary>
    /// <param name="original">The original's, without the program.</param>
    /// <param name="parts">What the clone has instead.</param>
    /// <exception cref="CloneException">Such a machine can't be copied; says why.</exception>
    public static IReadOnlyList<string> Of(IReadOnlyList<string> original, CloneParts parts)
    {
        var result = new List<string>();
        var seen = new HashSet<string>(StringComparer.Ordinal);
        var drives = new List<string>();
        var devices = new List<QemuOption>();
        for (int i = 0; i < original.Count; i++)
        {
            string word = original[i];
            if (!word.StartsWith('-'))
            {
                // A file alone is the first disk.
                drives.Add(Drive(QemuOption.Of(("index", "0"), ("media", "disk"), ("file", word)), parts));
                continue;
            }

            string name = word.TrimStart('-');
            string? value = Flags.Contains(name) ? null : ++i < original.Count ? original[i] : throw new CloneException($"QEMU's command line ends with {word}");
            seen.Add(name);
            if (OutsideOptions.Contains(name))
                throw new CloneException($"a copy of this VM can't be made: it was started with {word}, which is about something outside of QEMU");
            if (Dropped.Contains(name) || name == "blockdev")
                continue;
            switch (name)
            {
                case "object":
                    Add(result, word, Object(QemuOption.Parse(value!, "qom-type"), parts).ToString());
                    break;
                case "drive":
                    drives.Add(Drive(QemuOption.Parse(value!, "file"), parts));
                    break;
                case "hda" or "hdb" or "hdc" or "hdd":
                    drives.Add(Drive(QemuOption.Of(("index", $"{name[2] - 'a'}"), ("media", "disk"), ("file", value!)), parts));
                    break;
                case "cdrom":
                    drives.Add(Drive(QemuOption.Of(("index", "2"), ("media", "cdrom"), ("file", value!)), parts));
                    break;
                case "device":
                    QemuOption device = Device(QemuOption.Parse(value!, "driver"));
                    devices.Add(device);
                    Add(result, word, value!.StartsWith('{') ? value : device.ToString());
                    break;
                case "netdev":
                    Add(result, word, Network(QemuOption.Parse(value!, "type"), parts).ToString());
                    break;
                case "nic":
                    Add(result, word, Nic(QemuOption.Parse(value!, "type")).ToString());
                    break;
                case "net":
                    QemuOption net = QemuOption.Parse(value!, "type");
                    Add(result, word, net["type"] is "nic" or "none" ? value! : "user,restrict=on");
                    break;
                case "chardev":
                    Add(result, word, Channel(QemuOption.Parse(value!, "backend"), parts).ToString());
                    break;
                case "serial" or "parallel" or "debugcon":
                    Add(result, word, value == "none" || value!.StartsWith("chardev:", StringComparison.Ordinal) ? value : Port(name, result.Count(w => w == word), parts));
                    break;
                case "audiodev":
                    Add(result, word, QemuOption.Of(("driver", "none"), ("id", QemuOption.Parse(value!, "driver")["id"] ?? "audio")).ToString());
                    break;
                default:
                    result.Add(word);
                    if (value is not null)
                        result.Add(value);
                    break;
            }
        }

        if (!seen.Contains("nodefaults"))
            AddDefaults(result, seen);
        AddNodes(drives, devices, parts);
        foreach (string drive in drives)
            Add(result, "-drive", drive);

        // What the device state was saved by writes no description of it, which would be waited for.
        return [.. result, "-machine", "suppress-vmdesc=on", "-display", "none", .. (string[])(parts.Consoles is { } screen && seen.Contains("vnc") ? ["-vnc", $"unix:{screen}/vnc.sock"] : [])];
    }

    private static void Add(List<string> to, string option, string value)
    {
        to.Add(option);
        to.Add(value);
    }

    /// <summary>What QEMU makes by itself has to be there too, and lead nowhere.</summary>
    private static void AddDefaults(List<string> result, HashSet<string> seen)
    {
        if (!seen.Contains("serial"))
            Add(result, "-serial", "null");
        if (!seen.Contains("parallel"))
            Add(result, "-parallel", "null");
        if (!seen.Overlaps(["net", "nic", "netdev"]))
        {
            Add(result, "-net", "nic");
            Add(result, "-net", "user,restrict=on");
        }

        Add(result, "-monitor", "none");
    }

    private static QemuOption Object(QemuOption option, CloneParts parts)
    {
        string type = option["qom-type"] ?? "", id = option["id"] ?? "";
        if (!type.StartsWith("memory-backend-", StringComparison.Ordinal))
            return option;
        if (!parts.Memory.TryGetValue(id, out string? file))
            throw new CloneException($"a copy of this VM can't be made: where its memory {id} ({type}) lies can't be told");
        return option.Without(key => key is "share" or "mem-path" or "prealloc" or "prealloc-threads" or "seal" or "hugetlb" or "hugetlbsize" or "discard-data" or "x-use-canonical-path-for-ramblock-id" or "reserve")
            .With("qom-type", "memory-backend-file").With("mem-path", file).With("share", parts.IsMemoryOwn ? "on" : "off").With("prealloc", "off");
    }

    private static QemuOption Device(QemuOption option)
    {
        string driver = option["driver"] ?? "";
        foreach ((string prefix, string what) in Outside)
        {
            if (driver.StartsWith(prefix, StringComparison.Ordinal))
                throw new CloneException($"a copy of this VM can't be made: it has {what} ({driver})");
        }

        return option;
    }

    /// <summary>The backend of a network card. Cards agree with their backend on what packets may look like, and keep to it: behind one that leads through the host's kernel has to be another such.</summary>
    private static QemuOption Network(QemuOption option, CloneParts parts)
    {
        string id = option["id"] ?? throw new CloneException("a copy of this VM can't be made: it has a network without a name");
        string type = option["type"] ?? "";
        if (type is "user" or "socket" or "stream" or "dgram" or "hubport" or "l2tpv3" or "vde")
            return QemuOption.Of(("type", "user"), ("id", id), ("restrict", "on"));
        if (type is not ("tap" or "bridge" or "vhost-user"))
            throw new CloneException($"a copy of this VM can't be made: it has a network of type {type}");
        if (!parts.HasOwnNetwork)
            throw new CloneException($"a copy of this VM can't be made: its network {id} ({type}) needs a tap device in a network namespace of the copy's own, which this user may not make: run Panacea as root");
        QemuOption tap = QemuOption.Of(("type", "tap"), ("id", id), ("script", "no"), ("downscript", "no"), ("vhost", "off"));
        int queues = option["queues"] is { } count && int.TryParse(count, NumberStyles.None, CultureInfo.InvariantCulture, out int n) ? n : (option["fds"] ?? option["vhostfds"])?.Split(':').Length ?? 1;
        return queues > 1 ? tap.With("queues", queues.ToString(CultureInfo.InvariantCulture)) : tap;
    }

    private static QemuOption Nic(QemuOption option) => option["type"] == "none" ? option
        : option.Without(key => key is not ("model" or "mac" or "id" or "addr" or "netdev")).With("type", "user").With("restrict", "on");

    private static QemuOption Channel(QemuOption option, CloneParts parts)
    {
        string id = option["id"] ?? throw new CloneException("a copy of this VM can't be made: it has a character device without a name");
        QemuOption channel = parts.Consoles is { } directory
            ? QemuOption.Of(("backend", "socket"), ("id", id), ("path", Path.Combine(directory, SafeName(id))), ("server", "on"), ("wait", "off"))
            : QemuOption.Of(("backend", "null"), ("id", id));
        return option["mux"] is { } mux ? channel.With("mux", mux) : channel;
    }

    private static string Port(string name, int number, CloneParts parts) =>
        parts.Consoles is { } directory ? string.Create(CultureInfo.InvariantCulture, $"unix:{directory}/{name}{number}.sock,server=on,wait=off") : "null";

    private static string SafeName(string id) => string.Concat(id.Select(c => char.IsAsciiLetterOrDigit(c) || c is '-' or '_' or '.' ? c : '_')) + ".sock";

    /// <summary>A drive of the original, with what is in it now.</summary>
    private static string Drive(QemuOption option, CloneParts parts)
    {
        string? id = option["id"];
        CloneDisk? now = id is null ? null : parts.Disks.FirstOrDefault(d => d.Backend == id) ?? parts.Disks.FirstOrDefault(d => d.Node == id);
        string? file = option["file"] ?? option["file.filename"];
        now ??= parts.Disks.FirstOrDefault(d => d.File is not null && d.File == file) ?? new CloneDisk(id ?? "", "", "", file is null ? null : option["format"] ?? option["driver"], file, false, option["readonly"] == "on");

        // Of the options those stay that say where the drive is.
        return Overlay(option.Without(key => key is not ("id" or "if" or "index" or "bus" or "unit" or "media")), now);
    }

    /// <summary>Drives for the nodes that devices name directly.</summary>
    private static void AddNodes(List<string> drives, List<QemuOption> devices, CloneParts parts)
    {
        var known = drives.Select(d => QemuOption.Parse(d, "file")["id"]).ToHashSet(StringComparer.Ordinal);
        foreach (QemuOption device in devices)
        {
            if (device["drive"] is not { } name || !known.Add(name))
                continue;
            CloneDisk now = parts.Disks.FirstOrDefault(d => d.Node == name || d.Backend == name) ?? parts.Disks.FirstOrDefault(d => device["id"] is { } id && IsOf(d.Device, id))
                ?? throw new CloneException($"a copy of this VM can't be made: what its disk {name} holds can't be told");
            drives.Add(Overlay(QemuOption.Of(("if", "none"), ("id", name)), now));
        }
    }

    private static bool IsOf(string path, string id) => path == id || path.EndsWith($"/{id}", StringComparison.Ordinal) || path.Contains($"/{id}/", StringComparison.Ordinal);

    /// <summary>What the clone writes goes to a file without a name (<c>snapshot=on</c>). The image itself is only read, and QEMU's locks on it are the original's.</summary>
    private static string Overlay(QemuOption drive, CloneDisk disk)
    {
        if (disk.File is not { } file)
            return drive.ToString();
        if (disk.Format is null or "luks" or "throttle" or "copy-on-read")
            throw new CloneException($"a copy of this VM can't be made: its disk {(disk.Backend.Length > 0 ? disk.Backend : disk.Node)} has the format {disk.Format ?? "?"}");
        drive = drive.With("format", disk.Format);
        drive = file.StartsWith('/')
            ? drive.With("file.driver", disk.IsHostDevice ? "host_device" : "file").With("file.filename", file).With("file.locking", "off")
            : drive.With("file", file);
        return (disk.IsReadOnly ? drive.With("readonly", "on") : drive.With("snapshot", "on")).ToString();
    }
}
