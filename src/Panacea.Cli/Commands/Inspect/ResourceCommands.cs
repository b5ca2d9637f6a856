using System.CommandLine;
using System.Globalization;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Services.Inspection;

namespace Panacea.Cli.Commands.Inspect;

/// <summary><c>memory</c>, <c>slab</c>, <c>mounts</c>, <c>net</c>, <c>dev</c>.</summary>
internal static class ResourceCommands
{
    private const int KibPerPage = 4;

    /// <summary>The subcommands.</summary>
    public static IEnumerable<PanaceaCommand> Create(InspectTree tree)
    {
        yield return tree.Sub(
            "memory", "Show how much memory there is and what has it.", [("memory", "A summary, and the zones with their watermarks, in pages.")],
            (_, guest) => guest.Resources.Memory(), () => InspectionJson.Default.MemoryAnswer, (memory, _) => Memory(tree, memory));
        yield return tree.Sub(
            "slab", "List the slab caches, the one that holds most first.", [("slab | head", "The largest ones.")],
            (_, guest) => guest.Resources.Slabs(), () => InspectionJson.Default.IReadOnlyListSlabRow, (slabs, _) => Slabs(tree, slabs));
        Argument<int?> pid = InspectTree.Pid("The task whose mounts to show [default: 1].", required: false);
        yield return tree.Sub(
            "mounts", "List the mounts that a task sees.", [("mounts", "Those of the first process."), ("mounts 300", "Those of another, in a namespace of its own perhaps.")],
            (parsed, guest) => InspectTree.Found(guest.Resources.Mounts(parsed.GetValue(pid) ?? 1), $"task of pid {parsed.GetValue(pid) ?? 1}"),
            () => InspectionJson.Default.IReadOnlyListMountRow, (mounts, _) => Mounts(tree, mounts), pid);
        yield return tree.Sub(
            "net", "List network devices and TCP sockets.", [("net", "Devices of the first namespace with addresses and counters; sockets with state, queues and peers.")],
            (_, guest) => guest.Resources.Net(), () => InspectionJson.Default.NetAnswer, (net, _) => Net(tree, net));
        yield return tree.Sub(
            "dev", "List character and block devices, and what is under way on disks.", [("dev", "Numbers with names and operations; disks with reads and writes in flight.")],
            (_, guest) => guest.Resources.Devices(), () => InspectionJson.Default.DevicesAnswer, (devices, _) => Devices(tree, devices));
    }

    private static void Memory(InspectTree tree, MemoryAnswer memory)
    {
        var table = new Columns((" ", true), ("PAGES", true), ("TOTAL", true), ("PERCENTAGE", false));
        foreach (MemoryLine line in memory.Lines)
        {
            table.Add(
                line.Name, InspectTree.N(line.Pages), Size(line.Pages),
                line.Percent is { } percent ? string.Create(CultureInfo.InvariantCulture, $"{percent:0.0} % of {line.Of}") : line.Of is null ? "----" : $"0.0 % of {line.Of}");
        }

        table.WriteTo(tree.Out, tree.Console.Paint);
        tree.Out.WriteLine();
        var zones = new Columns(("NODE", true), ("ZONE", false), ("ADDRESS", false), ("FREE", true), ("MIN", true), ("LOW", true), ("HIGH", true), ("SPANNED", true), ("PRESENT", true), ("MANAGED", true));
        foreach (ZoneRow z in memory.Zones)
        {
            zones.Add(
                InspectTree.N(z.Node), z.Name, InspectTree.Hex(z.Address), InspectTree.N(z.Free), InspectTree.N(z.Min), InspectTree.N(z.Low), InspectTree.N(z.High), InspectTree.N(z.Spanned),
                InspectTree.N(z.Present), InspectTree.N(z.Managed));
        }

        zones.WriteTo(tree.Out, tree.Console.Paint);
        if (memory is { OomKills: > 0 } or { OomVictims: > 0 })
            tree.Out.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{memory.OomKills ?? 0} processes killed for want of memory since boot, {memory.OomVictims ?? 0} being killed now"));
    }

    private static string Size(long pages)
    {
        double kib = (double)pages * KibPerPage;
        return kib < 1024 ? string.Create(CultureInfo.InvariantCulture, $"{kib:0} KB") : kib < 1 << 20
            ? string.Create(CultureInfo.InvariantCulture, $"{kib / 1024:0.0} MB") : string.Create(CultureInfo.InvariantCulture, $"{kib / (1 << 20):0.0} GB");
    }

    private static void Slabs(InspectTree tree, IReadOnlyList<SlabRow> slabs)
    {
        var table = new Columns(("CACHE", false), ("OBJSIZE", true), ("ALLOCATED", true), ("TOTAL", true), ("SLABS", true), ("SSIZE", true), ("KIB", true), ("NAME", false));
        foreach (SlabRow s in slabs)
        {
            table.Add(
                InspectTree.Hex(s.Cache), InspectTree.N(s.ObjectSize), InspectTree.N(s.Allocated), InspectTree.N(s.Total), InspectTree.N(s.Slabs),
                string.Create(CultureInfo.InvariantCulture, $"{s.SlabKib}k"), InspectTree.N(s.Kib), s.Shared > 1 ? string.Create(CultureInfo.InvariantCulture, $"{s.Name} (and {s.Shared - 1} merged)") : s.Name);
        }

        table.WriteTo(tree.Out, tree.Console.Paint);
    }

    private static void Mounts(InspectTree tree, IReadOnlyList<MountRow> mounts)
    {
        var table = new Columns(("MOUNT", false), ("SUPERBLK", false), ("TYPE", false), ("DEVNAME", false), ("DIRNAME", false));
        foreach (MountRow m in mounts)
            table.Add(InspectTree.Hex(m.Mount), InspectTree.Hex(m.Superblk), m.Type, m.Devname, m.Dirname);
        table.WriteTo(tree.Out, tree.Console.Paint);
    }

    private static void Net(InspectTree tree, NetAnswer net)
    {
        var devices = new Columns(
            ("NET_DEVICE", false), ("NAME", false), ("STATE", false), ("MTU", true), ("HWADDR", false), ("RX_PKTS", true), ("RX_BYTES", true), ("TX_PKTS", true), ("TX_BYTES", true),
            ("IP ADDRESS(ES)", false));
        foreach (NetDeviceRow d in net.Devices)
        {
            devices.Add(
                InspectTree.Hex(d.NetDevice), d.Name, !d.Up ? "down" : d.Carrier ? "up" : "no carrier", InspectTree.N(d.Mtu), d.HardwareAddress, InspectTree.N(d.ReceivedPackets),
                InspectTree.N(d.ReceivedBytes), InspectTree.N(d.SentPackets), InspectTree.N(d.SentBytes), string.Join(", ", d.Addresses));
        }

        devices.WriteTo(tree.Out, tree.Console.Paint);
        if (net.Sockets.Count == 0)
            return;
        tree.Out.WriteLine();
        var sockets = new Columns(("SOCK", false), ("FAMILY:TYPE", false), ("STATE", false), ("RECV-Q", true), ("SEND-Q", true), ("SOURCE-PORT", false), ("DESTINATION-PORT", false));
        foreach (SocketRow s in net.Sockets)
        {
            sockets.Add(
                InspectTree.Hex(s.Sock), s.Type.Length > 0 ? $"{s.Family}:{s.Type}" : s.Family, s.State, InspectTree.N(s.ReceiveQueue), InspectTree.N(s.SendQueue), s.Local, s.Remote);
        }

        sockets.WriteTo(tree.Out, tree.Console.Paint);
    }

    private static void Devices(InspectTree tree, DevicesAnswer devices)
    {
        var characters = new Columns(("CHRDEV", true), ("NAME", false), ("CDEV", false), ("OPERATIONS", false));
        foreach (CharacterDriverRow c in devices.Characters)
            characters.Add(InspectTree.N(c.Major), c.Name, Hex(c.Cdev), c.Operations);
        characters.WriteTo(tree.Out, tree.Console.Paint);
        tree.Out.WriteLine();
        var blocks = new Columns(("BLKDEV", true), ("NAME", false), ("GENDISK", false), ("OPERATIONS", false));
        foreach (BlockDriverRow b in devices.Blocks)
            blocks.Add(InspectTree.N(b.Major), b.Name, Hex(b.Gendisk), b.Operations);
        blocks.WriteTo(tree.Out, tree.Console.Paint);
        tree.Out.WriteLine();
        var disks = new Columns(("MAJOR", true), ("GENDISK", false), ("NAME", false), ("REQUEST_QUEUE", false), ("TOTAL", true), ("READ", true), ("WRITE", true));
        foreach (DiskRow d in devices.Disks)
        {
            disks.Add(
                InspectTree.N(d.Major), InspectTree.Hex(d.Gendisk), d.Name, InspectTree.Hex(d.RequestQueue), InspectTree.N(unchecked(d.Reads + d.Writes)), InspectTree.N(d.Reads),
                InspectTree.N(d.Writes));
        }

        disks.WriteTo(tree.Out, tree.Console.Paint);
    }

    private static string? Hex(ulong? address) => address is { } known ? InspectTree.Hex(known) : null;
}
