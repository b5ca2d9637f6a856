using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class DevicesTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Numbers_of_character_devices_have_their_operations(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        k.AddCharacterDriver(4, 64, "ttyS", k["null_fops"], isMapped: true);
        k.AddCharacterDriver(4, 0, "tty", k["eventpoll_fops"]);

        // 259 shares its place in the table with 4.
        k.AddCharacterDriver(259, 3, "far", 0);
        List<CharacterDriver> all = CharacterDriver.Enumerate(g.Kernel, Few);
        Assert.Equal(
            [(4u, 0u, "tty", k["eventpoll_fops"]), (4u, 64u, "ttyS", k["null_fops"]), (259u, 3u, "far", 0ul)], all.Select(d => (d.Major, d.FirstMinor, d.Name, d.Operations)));
        Assert.Equal([true, true, false], all.Select(d => d.Device != 0));
        Assert.Equal(256u, all[0].Minors);
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Numbers_of_block_devices_have_their_disk_that_came_last(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        k.AddBlockDriver(254, "virtblk");
        k.AddBlockDriver(8, "sd");
        k.AddDisk(254 << 20, "vda", k["null_fops"]);
        SyntheticDisk last = k.AddDisk(254 << 20 | 16, "vdb", k["eventpoll_fops"]);
        Assert.Equal([new BlockDriver(8, "sd", 0, 0), new BlockDriver(254, "virtblk", last.Disk, k["eventpoll_fops"])], BlockDriver.Enumerate(g.Kernel, Few));
        Assert.Equal([("vda", 254u << 20), ("vdb", 254u << 20 | 16)], BlockDevices.Enumerate(g.Kernel, Few).Select(d => (d.Name, d.Device)));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void What_is_under_way_on_a_disk_is_counted(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        k.AddDisk(254 << 20, "vda", k["null_fops"], (0, 1), (1, 1), (1, 1), (0, 2), (1, 0), (2, 1), (3, 1));
        SyntheticDisk ram = k.AddDisk(1 << 20, "ram0", k["null_fops"], null);
        List<BlockDevice> all = BlockDevices.Enumerate(g.Kernel, Few);
        Assert.Equal((2, 3), BlockDevices.Load(g.Kernel, all[1], Few));

        // A driver that takes no requests counts for itself, on each CPU: a request may end on another than it began on.
        const ulong stats = 0x8000;
        Assert.Null(BlockDevices.Load(g.Kernel, all[0], Few));
        k.Put(ram.Device, "block_device.bd_stats", stats);
        for (int cpu = 0; cpu < k.Options.Cpus; cpu++)
        {
            ulong counts = k.PerCpuBase(cpu) + stats + k.Types.Offset("disk_stats.in_flight");
            k.WriteU64(counts, cpu == 0 ? 5 : ulong.MaxValue - 1);
            k.WriteU64(counts + 8, cpu == 0 ? ulong.MaxValue : 0);
        }

        Assert.Equal((3, 0), BlockDevices.Load(g.Kernel, all[0], Few));
    }

    /// <summary>Chains that run in circles or lead nowhere are typed failures.</summary>
    [Fact]
    public void A_table_that_does_not_hold_together_is_refused()
    {
        using var g = new KernelGuest(new SyntheticKernelOptions());
        SyntheticKernel k = g.Guest;
        ulong driver = k.AddCharacterDriver(4, 0, "tty", 0), block = k.AddBlockDriver(8, "sd");
        k.Put(driver, "char_device_struct.next", driver);
        Assert.ThrowsAny<KernelShapeException>(() => CharacterDriver.Enumerate(g.Kernel, Few));
        k.Put(driver, "char_device_struct.next", 0x10);
        Assert.Throws<GuestMemoryException>(() => CharacterDriver.Enumerate(g.Kernel, Few));
        k.Put(block, "blk_major_name.next", block);
        Assert.ThrowsAny<KernelShapeException>(() => BlockDriver.Enumerate(g.Kernel, Few));
        k.Put(driver, "char_device_struct.next", 0);
        k.Put(driver, "char_device_struct.cdev", 0x10);
        Assert.Equal(0UL, Assert.Single(CharacterDriver.Enumerate(g.Kernel, Few)).Device);
    }
}
