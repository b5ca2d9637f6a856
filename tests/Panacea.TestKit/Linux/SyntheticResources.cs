using System.Buffers.Binary;
using System.Text;
using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

/// <summary>A slab cache of a synthetic kernel.</summary>
/// <param name="Address">Its kmem_cache.</param>
/// <param name="Name">Name.</param>
/// <param name="Size">Bytes from object to object.</param>
/// <param name="FreeOffset">Where a free object keeps its link.</param>
/// <param name="Key">What links are mixed with.</param>
/// <param name="Cpu">Offset of its kmem_cache_cpu from each CPU's base.</param>
public sealed record SyntheticCache(ulong Address, string Name, int Size, int FreeOffset, ulong Key, ulong Cpu)
{
    /// <summary>SLAB_RED_ZONE's bytes before each object.</summary>
    public int RedLeft { get; init; }
}

/// <summary>A slab: one page.</summary>
/// <param name="Slab">Its struct slab.</param>
/// <param name="Base">Address of its memory.</param>
/// <param name="Objects">Addresses of its objects.</param>
public sealed record SyntheticSlab(ulong Slab, ulong Base, IReadOnlyList<ulong> Objects);

public sealed partial class SyntheticKernel
{
    private const ulong VmemmapPhysical = 0x3a0_0000;
    private const int PageStruct = 64;
    private readonly List<SyntheticCache> _caches = [];
    private ulong _cpuSlab = 0x8000;

    /// <summary>vmemmap_base.</summary>
    public ulong VmemmapBase => Options.Mode == Target.Paging.PagingMode.FiveLevel ? 0xffd4_0000_0000_0000 : 0xffff_ea00_0000_0000;

    /// <summary>vmalloc_base.</summary>
    public ulong VmallocBase => Options.Mode == Target.Paging.PagingMode.FiveLevel ? 0xffa0_0000_0000_0000 : 0xffff_c900_0000_0000;

    private bool IsNewer => Options.Shape == KernelShape.Linux612;

    /// <summary>The struct page of the page behind an address of the direct map.</summary>
    public ulong PageOf(ulong address) => VmemmapBase + ((address - DirectBase) / 4096 * PageStruct);

    /// <summary>A string on the heap.</summary>
    public ulong Text0(string text)
    {
        ulong at = Allocate(Encoding.UTF8.GetByteCount(text) + 1, 8);
        WriteText(at, text);
        return at;
    }

    /// <summary>Allocates a struct and sets members.</summary>
    public ulong New(string type, params (string Member, ulong Value)[] members)
    {
        ulong at = Allocate(Math.Max(8, Types.SizeOf(type)));
        foreach ((string member, ulong value) in members)
            Put(at, $"{type}.{member}", value);
        return at;
    }

    /// <summary>Makes a list of embedded list_heads.</summary>
    public void List(ulong head, string member, params ReadOnlySpan<ulong> objects)
    {
        var nodes = new List<ulong> { head };
        foreach (ulong at in objects)
            nodes.Add(at + Types.Offset(member));
        Ring(nodes);
    }

    /// <summary>Marks a page as the allocator does.</summary>
    /// <param name="address">Address of the direct map.</param>
    /// <param name="use">"slab", "buddy", "table", "reserved", "anon", "head", "tail".</param>
    /// <param name="value">Order of a buddy or head, head page of a tail, mapping of an anon page.</param>
    public void MarkPage(ulong address, string use, ulong value = 0)
    {
        ulong page = PageOf(address);
        switch (use)
        {
            case "slab" when !IsNewer:
                Put(page, "page.flags", 1UL << 9);
                break;
            case "slab" or "buddy" or "table":
                uint type = use switch { "slab" => 0xf500_0000, "buddy" => IsNewer ? 0xf000_0000 : 0xffff_ff7f, _ => IsNewer ? 0xf200_0000 : 0xffff_fdff };
                Put(page, "page.page_type", type);
                if (use == "buddy")
                    Put(page, "page.private", value);
                break;
            case "reserved":
                Put(page, "page.flags", IsNewer ? 1UL << 13 : 1UL << 12);
                break;
            case "head":
                Put(page, "page.flags", Get(page, "page.flags") | (IsNewer ? 1UL << 6 : 1UL << 16));
                Put(page, IsNewer ? "folio._flags_1" : "folio._folio_order", value);
                break;
            case "tail":
                Put(page, "page.compound_head", PageOf(value) | 1);
                break;
            default:
                Put(page, "page.mapping", value | 1);
                Put(page, "page._refcount", 1);
                break;
        }
    }

    /// <summary>Makes a slab cache and puts it on the list.</summary>
    public SyntheticCache AddCache(string name, int objectSize, int redLeft = 0, bool poison = false)
    {
        // As calculate_sizes has it: with poison, a red zone of a word behind the object and the link behind that.
        int inUse = poison ? objectSize + 8 : objectSize, link = poison ? inUse : objectSize / 2 / 8 * 8, size = ((poison ? inUse + 8 : objectSize) + redLeft + 7) / 8 * 8;
        ulong flags = redLeft == 0 ? 0 : !poison ? IsNewer ? 2UL : 0x400 : IsNewer ? 0x10_0006UL : 0x8000_0c00;
        ulong node = New("kmem_cache_node");
        List(node + Types.Offset("kmem_cache_node.partial"), "slab.slab_list");
        ulong key = 0x1234_5678_9abc_def0 + (ulong)_caches.Count, cpu = _cpuSlab;
        _cpuSlab += 64;
        ulong cache = New("kmem_cache",
            ("cpu_slab", cpu), ("flags", flags), ("size", (ulong)size), ("object_size", (ulong)objectSize), ("offset", (ulong)link), ("inuse", (ulong)inUse),
            ("oo", (ulong)(4096 / size)), ("refcount", 1), ("align", 8), ("red_left_pad", (ulong)redLeft), ("name", Text0(name)), ("random", key));
        WriteU64(cache + Types.Offset("kmem_cache.node"), node);
        var made = new SyntheticCache(cache, name, size, link, key, cpu) { RedLeft = redLeft };
        _caches.Add(made);
        List(this["slab_caches"], "kmem_cache.list", [.. _caches.Select(c => c.Address)]);
        return made;
    }

    /// <summary>Makes a slab of one page and puts it on the partial list of its cache.</summary>
    /// <param name="cache">The cache.</param>
    /// <param name="free">Indexes of its free objects, in the order of the free list.</param>
    public SyntheticSlab AddSlab(SyntheticCache cache, params int[] free)
    {
        ulong memory = Allocate(4096, 4096), slab = PageOf(memory);
        int count = 4096 / cache.Size;
        MarkPage(memory, "slab");
        Put(slab, "slab.slab_cache", cache.Address);
        Put(slab, "slab.objects", (ulong)count);
        Put(slab, "slab.inuse", (ulong)(count - free.Length));
        List<ulong> objects = [.. Enumerable.Range(0, count).Select(i => memory + (ulong)((i * cache.Size) + cache.RedLeft))];
        Put(slab, "slab.freelist", FreeList(cache, [.. free.Select(i => objects[i])]));
        ulong node = ReadU64(cache.Address + Types.Offset("kmem_cache.node"));
        List(node + Types.Offset("kmem_cache_node.partial"), "slab.slab_list", slab);
        Put(node, "kmem_cache_node.nr_slabs", 1);
        Put(node, "kmem_cache_node.total_objects", (ulong)count);
        return new SyntheticSlab(slab, memory, objects);
    }

    /// <summary>Links free objects.</summary>
    /// <returns>The first, 0 for none.</returns>
    public ulong FreeList(SyntheticCache cache, IReadOnlyList<ulong> objects)
    {
        for (int i = 0; i < objects.Count; i++)
        {
            ulong link = objects[i] + (ulong)cache.FreeOffset;
            WriteU64(link, (i + 1 < objects.Count ? objects[i + 1] : 0) ^ cache.Key ^ BinaryPrimitives.ReverseEndianness(link));
        }

        return objects.Count == 0 ? 0 : objects[0];
    }

    /// <summary>Makes vmalloc areas of four pages and a guard page each, mapped nowhere.</summary>
    public void SetVmallocAreas(params (ulong Start, ulong Caller)[] areas)
    {
        var nodes = new List<ulong>();
        foreach ((ulong start, ulong caller) in areas)
        {
            ulong vm = New("vm_struct", ("addr", start), ("size", 0x5000), ("flags", 2), ("nr_pages", 4), ("caller", caller));
            nodes.Add(New("vmap_area", ("va_start", start), ("va_end", start + 0x5000), ("vm", vm)));
        }

        if (IsNewer)
            Tree(ReadU64(this["vmap_nodes"]) + Types.Offset("vmap_node.busy"), [.. nodes.Select(n => n + Types.Offset("vmap_area.rb_node"))]);
        else
            List(this["vmap_area_list"], "vmap_area.list", [.. nodes]);
    }

    /// <summary>A dentry.</summary>
    public ulong Dentry(string name, ulong parent, ulong inode = 0, ulong operations = 0)
    {
        ulong at = New("dentry", ("d_inode", inode), ("d_op", operations));
        Put(at, "dentry.d_parent", parent == 0 ? at : parent);
        Put(at, "dentry.d_name.len", (ulong)Encoding.UTF8.GetByteCount(name));
        Put(at, "dentry.d_name.name", Text0(name));
        Put(at, "dentry.d_hash.pprev", at);
        return at;
    }

    /// <summary>A mount of a file system of its own.</summary>
    /// <param name="type">File system type.</param>
    /// <param name="device">Device name.</param>
    /// <param name="parent">The mount it hangs off; 0 for a root.</param>
    /// <param name="point">The dentry that it covers.</param>
    /// <param name="id">mnt_id.</param>
    public ulong Mount(string type, string device, ulong parent, ulong point, int id)
    {
        ulong super = New("super_block", ("s_type", New("file_system_type", ("name", Text0(type)))));
        ulong mount = New("mount", ("mnt_mountpoint", point), ("mnt_devname", Text0(device)), ("mnt_id", (ulong)id), ("mnt.mnt_sb", super));
        Put(mount, "mount.mnt_parent", parent == 0 ? mount : parent);
        Put(mount, "mount.mnt.mnt_root", Dentry("/", 0));
        return mount;
    }

    /// <summary>Puts mounts into a namespace.</summary>
    /// <returns>The mnt_namespace.</returns>
    public ulong MountNamespace(params ulong[] mounts)
    {
        ulong space = New("mnt_namespace", ("root", mounts[0]));
        if (IsNewer)
            Tree(space + Types.Offset("mnt_namespace.mounts"), [.. mounts.Select(m => m + Types.Offset("mount.mnt_node"))]);
        else
            List(space + Types.Offset("mnt_namespace.list"), "mount.mnt_list", mounts);
        return space;
    }

    /// <summary>An open file.</summary>
    public ulong File(ulong mount, ulong dentry, uint mode, ulong inodeNumber, ulong privateData = 0) => New("file",
        ("f_path.mnt", mount + Types.Offset("mount.mnt")), ("f_path.dentry", dentry), ("f_inode", New("inode", ("i_mode", mode), ("i_ino", inodeNumber))), ("f_flags", 0x8002), ("f_pos", 77),
        ("private_data", privateData));

    /// <summary>Gives a task open files by descriptor.</summary>
    public void SetFiles(SyntheticTask task, params (int Descriptor, ulong File)[] files)
    {
        ulong array = Allocate(64 * 8), open = Allocate(8), close = Allocate(8);
        ulong bits = 0;
        foreach ((int descriptor, ulong file) in files)
        {
            WriteU64(array + ((ulong)descriptor * 8), file);
            bits |= 1UL << descriptor;
        }

        WriteU64(open, bits);
        WriteU64(close, bits & 2);
        ulong table = New("fdtable", ("max_fds", 64), ("fd", array), ("open_fds", open), ("close_on_exec", close));
        Put(task.Address, "task_struct.files", New("files_struct", ("fdt", table)));
    }

    private void LayOutResources()
    {
        Tables.MapRange(VmemmapBase, VmemmapPhysical, PageTableBuilder.Size2M, PageTableBuilder.Size2M, PageAccess.Writable | PageAccess.NoExecute);
        WriteU64(Data("page_offset_base", 8), DirectBase);
        WriteU64(Data("vmalloc_base", 8), VmallocBase);
        WriteU64(Data("vmemmap_base", 8), VmemmapBase);
        WriteU64(Data("max_pfn", 8), RamBytes / 4096);
        Data("__kfence_pool", 8);
        Data("kfence_metadata", 4 * Types.SizeOf("kfence_metadata"));
        WriteU64(Data("panic_timeout", 8), unchecked((uint)-1));
        WriteU64(Data("panic_on_oops", 8), 1);
        WriteU64(Data("x86_hyper_type", 8), 5);
        foreach (string head in (string[])["slab_caches", "super_blocks"])
            List(Data(head, 16), "list_head.next");
        if (IsNewer)
        {
            WriteU64(Data("vmap_nodes", 8), New("vmap_node"));
            WriteU64(Data("nr_vmap_nodes", 8), 1);
        }
        else
        {
            List(Data("vmap_area_list", 16), "list_head.next");
        }

        Data("iomem_resource", Types.SizeOf("resource"));
        Data("init_uts_ns", Types.SizeOf("uts_namespace"));
        WriteU64(Data("saved_command_line", 8), Text0("ro quiet panic=-1"));
        Data("dmi_ident", 64);
        List(Data("init_net", Types.SizeOf("net")) + Types.Offset("net.dev_base_head"), "net_device.dev_list");
        Data("tcp_hashinfo", Types.SizeOf("inet_hashinfo"));
        Data("loopback_ops", Types.SizeOf("net_device_ops"));
        LayOutMemory();
        Data("null_fops", 64);
        Data("eventpoll_fops", 64);
        Data("bit_wait_table", 2 * Types.SizeOf("wait_queue_head"));
        Data("init_pid_ns", Types.SizeOf("pid_namespace"));
        Data("sys_call_table", 64);
        LayOutDevices();
    }
}
