using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Tests.Image;
using Panacea.Target;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests.Subsystems;

public sealed class FilesTests
{
    private static readonly TargetLimits Few = TargetLimits.Default with { MaxChain = 1000 };

    /// <summary>A root file system with /data, on which another is mounted with /data/log/app.log, and an overmounted one without a way to it.</summary>
    private sealed class Tree
    {
        public Tree(SyntheticKernel k)
        {
            Root = k.Mount("rootfs", "none", 0, 0, 1);
            ulong top = k.Get(Root, "mount.mnt.mnt_root");
            Data = k.Mount("ext4", "/dev/vda", Root, k.Dentry("data", top), 30);
            Log = k.Dentry("log", k.Get(Data, "mount.mnt.mnt_root"));
            File = k.Dentry("app.log", Log);
            Top = top;
        }

        public ulong Root { get; }

        public ulong Top { get; }

        public ulong Data { get; }

        public ulong Log { get; }

        public ulong File { get; }
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Open_files_have_their_names_across_mounts(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        var tree = new Tree(k);
        ulong gone = k.Dentry("gone", tree.Log);
        k.Put(gone, "dentry.d_hash.pprev", 0);
        k.SetFiles(k.Victim, (0, k.File(tree.Data, tree.File, 0x81a4, 42)), (1, k.File(tree.Data, gone, 0x81a4, 43)), (5, k.File(tree.Root, tree.Top, 0x41ed, 2)));
        k.Put(k.Victim.Address, "task_struct.fs", k.New("fs_struct",
            ("pwd.mnt", tree.Data + k.Types.Offset("mount.mnt")), ("pwd.dentry", tree.Log), ("root.mnt", tree.Root + k.Types.Offset("mount.mnt")), ("root.dentry", tree.Top)));
        LinuxTask victim = Tasks.ReadTask(g.Kernel, k.Victim.Address);
        List<OpenFile> files = OpenFiles.Of(g.Kernel, victim, Few);
        Assert.Equal(
            [(0, "/data/log/app.log", FileKind.Regular, 42UL), (1, "/data/log/gone (deleted)", FileKind.Regular, 43UL), (5, "/", FileKind.Directory, 2UL)],
            files.Select(f => (f.Descriptor, f.Path, f.Kind, f.InodeNumber)));
        Assert.Equal((0x8002u, 77L, false, true), (files[0].Flags, files[0].Position, files[0].CloseOnExec, files[1].CloseOnExec));
        TaskDirectories directories = OpenFiles.DirectoriesOf(g.Kernel, victim);
        Assert.Equal(("/data/log", "/", null), (directories.WorkingDirectory, directories.Root, directories.Executable));
        Assert.Empty(OpenFiles.Of(g.Kernel, Tasks.ReadTask(g.Kernel, k.Kthread.Address), Few));
    }

    [Fact]
    public void Files_without_a_path_are_named_by_what_they_are()
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        var tree = new Tree(k);

        // Whose d_dname is no known function is said by address, and never left out.
        ulong unknown = k.Dentry("thing", tree.Top, k.New("inode", ("i_ino", 99)), k.New("dentry_operations", ("d_dname", 0xffff_ffff_c123_4560)));
        Assert.Equal("thing (0xffffffffc1234560)", FilePaths.Name(g.Kernel, new KernelPath(tree.Root + k.Types.Offset("mount.mnt"), unknown)));
    }

    [Theory]
    [MemberData(nameof(KernelGuest.Lines), MemberType = typeof(KernelGuest))]
    public void Mounts_are_listed_with_their_places(KernelShape shape)
    {
        using var g = new KernelGuest(new SyntheticKernelOptions { Shape = shape });
        SyntheticKernel k = g.Guest;
        var tree = new Tree(k);
        k.Put(tree.Data, "mount.mnt.mnt_flags", 0x21);
        k.Put(k.Get(tree.Data, "mount.mnt.mnt_sb"), "super_block.s_flags", 1);
        ulong space = k.MountNamespace(tree.Root, tree.Data);
        k.Put(k.Victim.Address, "task_struct.nsproxy", k.New("nsproxy", ("mnt_ns", space)));
        Assert.Equal(space, Mounts.NamespaceOf(g.Kernel, Tasks.ReadTask(g.Kernel, k.Victim.Address)));
        List<LinuxMount> mounts = Mounts.Enumerate(g.Kernel, space, Few);
        Assert.Equal(
            [("none", "/", "rootfs", 1, 1, "rw"), ("/dev/vda", "/data", "ext4", 30, 1, "ro,nosuid,relatime")],
            mounts.Select(m => (m.Device, m.Point, m.Type, m.Id, m.ParentId, string.Join(',', m.Options))));
        Assert.Equal(0UL, Mounts.NamespaceOf(g.Kernel, Tasks.ReadTask(g.Kernel, k.Kthread.Address)));
    }

    public static TheoryData<string> Damages => ["parent cycle", "mount cycle", "long name", "wild parent", "wild name", "many descriptors", "wild array"];

    [Theory]
    [MemberData(nameof(Damages))]
    public void Damaged_names_and_tables_are_typed_failures(string damage)
    {
        using var g = new KernelGuest();
        SyntheticKernel k = g.Guest;
        var tree = new Tree(k);
        k.SetFiles(k.Victim, (3, k.File(tree.Data, tree.File, 0x81a4, 42)));
        ulong table = k.Get(k.Get(k.Victim.Address, "task_struct.files"), "files_struct.fdt");
        switch (damage)
        {
            case "parent cycle":
                k.Put(tree.Log, "dentry.d_parent", tree.File);
                break;
            case "mount cycle":
                k.Put(tree.Root, "mount.mnt_parent", tree.Data);
                k.Put(tree.Root, "mount.mnt_mountpoint", k.Get(tree.Data, "mount.mnt.mnt_root"));
                break;
            case "long name":
                k.Put(tree.Log, "dentry.d_name.len", uint.MaxValue);
                break;
            case "wild parent":
                k.Put(tree.Log, "dentry.d_parent", 0xffff_c900_dead_0000);
                break;
            case "wild name":
                k.Put(tree.Log, "dentry.d_name.name", 8);
                break;
            case "many descriptors":
                k.Put(table, "fdtable.max_fds", uint.MaxValue);
                break;
            default:
                k.Put(table, "fdtable.fd", 0xffff_c900_dead_0000);
                break;
        }

        LinuxTask victim = Tasks.ReadTask(g.Kernel, k.Victim.Address);
        if (damage is "many descriptors" or "wild array")
        {
            Exception e = Assert.ThrowsAny<Exception>(() => OpenFiles.Of(g.Kernel, victim, Few));
            Assert.True(e is KernelShapeException or GuestMemoryException, e.ToString());
        }
        else
        {
            // A name that can't be read costs the name, not the file.
            OpenFile file = Assert.Single(OpenFiles.Of(g.Kernel, victim, Few));
            Assert.Matches(@"^\[.+\]$", file.Path);
            Assert.Equal(42UL, file.InodeNumber);
        }
    }
}
