namespace Panacea.TestKit.Linux;

internal static partial class KernelTypes
{
    /// <summary>Memory, files, mounts, sockets and what else a kernel hands out. Where members overlie each other they do so here.</summary>
    /// <returns>The members of task_struct that lead to them.</returns>
    private static (string, CType)[] Resources(SyntheticTypes t, CType list, KernelShape shape)
    {
        bool newer = shape == KernelShape.Linux612;
        CType counter = t.Struct("counter32", ("counter", t.S32));
        CType counter64 = t.Struct("counter64", ("counter", t.S64));
        Memory(t, counter, newer);
        Slab(t, list, counter64, newer);
        Vfs(t, list, newer);
        Processes(t, list, newer);
        Net(t, list, counter);
        Devices(t, counter, newer);
        return [("files", t.Pointer), ("fs", t.Pointer), ("nsproxy", t.Pointer), ("cgroups", t.Pointer), ("real_cred", t.Pointer)];
    }

    private static void Memory(SyntheticTypes t, CType counter, bool newer)
    {
        t.Overlay("page", 64,
            ("flags", t.U64, 0), ("compound_head", t.U64, 8), ("mapping", t.Pointer, 24), ("index", t.U64, 32), ("private", t.U64, 40), ("_mapcount", counter, 48), ("page_type", t.U32, 48),
            ("_refcount", counter, 52), ("lru", t.Known("list_head"), 8), ("mlock_count", t.U32, 16));
        t.Overlay("folio", 256, newer ? ("_flags_1", t.U64, 64) : ("_folio_order", t.U8, 81));
        t.Enum("pageflags", newer
            ? [("PG_locked", 0), ("PG_lru", 5), ("PG_head", 6), ("PG_active", 8), ("PG_reserved", 13), ("PG_private", 14), ("PG_swapbacked", 17), ("PG_unevictable", 18), ("PG_owner_priv_1", 10), ("__NR_PAGEFLAGS", 24), ("PG_swapcache", 10)]
            : [("PG_locked", 0), ("PG_lru", 4), ("PG_active", 5), ("PG_slab", 9), ("PG_owner_priv_1", 10), ("PG_reserved", 12), ("PG_private", 13), ("PG_head", 16), ("PG_swapbacked", 19), ("PG_unevictable", 20), ("__NR_PAGEFLAGS", 24), ("PG_swapcache", 10)]);
        if (newer)
            t.Enum("pagetype", ("PGTY_buddy", 240), ("PGTY_offline", 241), ("PGTY_table", 242), ("PGTY_slab", 245), ("PGTY_mapcount_underflow", 255));
        t.Struct("kfence_metadata", ("state", t.U32), ("addr", t.U64), ("size", t.U64));
        t.Enum("zone_type", ("ZONE_DMA", 0), ("ZONE_DMA32", 1), ("ZONE_NORMAL", 2), ("__MAX_NR_ZONES", 3));
        t.Struct("resource", ("start", t.U64), ("end", t.U64), ("name", t.Pointer), ("flags", t.U64), ("parent", t.Pointer), ("sibling", t.Pointer), ("child", t.Pointer));
        CType root = t.Struct("vmap_rb_root", ("rb_node", t.Pointer));
        CType busy = t.Struct("rb_list", ("root", root));
        t.Struct("vmap_node", ("pool", t.U64), ("busy", busy));
        t.Overlay("vmap_area", 64, ("va_start", t.U64, 0), ("va_end", t.U64, 8), ("rb_node", t.Array(t.U64, 3), 16), ("list", t.Array(t.U64, 2), 40), ("vm", t.Pointer, 56));
        t.Struct("vm_struct", ("next", t.Pointer), ("addr", t.Pointer), ("size", t.U64), ("flags", t.U64), ("nr_pages", t.U32), ("phys_addr", t.U64), ("caller", t.Pointer));
    }

    private static void Slab(SyntheticTypes t, CType list, CType counter64, bool newer)
    {
        t.Overlay("slab", 64,
            ("slab_cache", t.Pointer, newer ? 8 : 24), ("slab_list", list, newer ? 16 : 8), ("freelist", t.Pointer, 32), ("counters", t.U64, 40), ("inuse", t.U16, 40), ("objects", t.U8, 42),
            ("frozen", t.U8, 43));
        CType packed = t.Struct("kmem_cache_order_objects", ("x", t.U32));
        t.Struct("kmem_cache",
            ("cpu_slab", t.Pointer), ("flags", t.U32), ("size", t.U32), ("object_size", t.U32), ("offset", t.U32), ("oo", packed), ("refcount", t.S32), ("align", t.U32), ("red_left_pad", t.U32),
            ("name", t.Pointer), ("list", list), ("random", t.U64), ("inuse", t.U32), ("node", t.Array(t.Pointer, 4)));
        t.Struct("kmem_cache_cpu", ("freelist", t.Pointer), ("tid", t.U64), ("slab", t.Pointer));
        t.Struct("kmem_cache_node", ("nr_partial", t.U64), ("partial", list), ("nr_slabs", counter64), ("total_objects", counter64));
        if (newer)
            t.Enum("_slab_flag_bits", ("_SLAB_RED_ZONE", 1), ("_SLAB_POISON", 2), ("_SLAB_PANIC", 8), ("_SLAB_OBJECT_POISON", 20));
    }

    private static void Vfs(SyntheticTypes t, CType list, bool newer)
    {
        CType path = t.Struct("path", ("mnt", t.Pointer), ("dentry", t.Pointer));
        CType name = t.Struct("qstr", ("hash", t.U32), ("len", t.U32), ("name", t.Pointer));
        CType hash = t.Struct("hlist_bl_node", ("next", t.Pointer), ("pprev", t.Pointer));
        t.Struct("dentry", ("d_flags", t.U32), ("d_hash", hash), ("d_parent", t.Pointer), ("d_name", name), ("d_inode", t.Pointer), ("d_op", t.Pointer), ("d_fsdata", t.Pointer));
        t.Struct("dentry_operations", ("d_dname", t.Pointer));
        CType vfsmount = t.Struct("vfsmount", ("mnt_root", t.Pointer), ("mnt_sb", t.Pointer), ("mnt_flags", t.S32));
        t.Struct("mount",
            ("mnt_parent", t.Pointer), ("mnt_mountpoint", t.Pointer), ("mnt", vfsmount), ("mnt_devname", t.Pointer), newer ? ("mnt_node", t.Array(t.U64, 3)) : ("mnt_list", list), ("mnt_id", t.S32));
        CType root = t.Struct("mnt_rb_root", ("rb_node", t.Pointer));
        t.Struct("mnt_namespace", ("root", t.Pointer), newer ? ("mounts", root) : ("list", list));
        t.Struct("file_system_type", ("name", t.Pointer));
        CType writers = t.Struct("sb_writers", ("frozen", t.S32));
        t.Struct("super_block",
            ("s_list", list), ("s_dev", t.U32), ("s_type", t.Pointer), ("s_flags", t.U64), ("s_bdev", t.Pointer), ("s_writers", writers), ("s_id", t.Array(t.Char, 32)), ("s_subtype", t.Pointer), ("s_inodes", list));
        t.Struct("inode", ("i_mode", t.U16), ("i_ino", t.U64), ("i_rdev", t.U32), ("i_private", t.Pointer), ("i_sb_list", list));
        t.Struct("file", ("f_path", path), ("f_inode", t.Pointer), ("f_op", t.Pointer), ("f_flags", t.U32), ("f_pos", t.S64), ("private_data", t.Pointer));
        t.Struct("fdtable", ("max_fds", t.U32), ("fd", t.Pointer), ("close_on_exec", t.Pointer), ("open_fds", t.Pointer));
        t.Struct("files_struct", ("fdt", t.Pointer));
        t.Struct("fs_struct", ("root", path), ("pwd", path));
    }

    private static void Processes(SyntheticTypes t, CType list, bool newer)
    {
        CType id = t.Struct("kuid_t", ("val", t.U32));
        CType words = newer ? t.Struct("kernel_cap_t", ("val", t.U64)) : t.Struct("kernel_cap_struct", ("cap", t.Array(t.U32, 2)));
        t.Struct("cred", ("uid", id), ("gid", id), ("euid", id), ("egid", id), ("cap_permitted", words), ("cap_effective", words), ("user_ns", t.Pointer));
        CType ns = t.Struct("ns_common", ("ops", t.Pointer), ("inum", t.U32));
        t.Struct("user_namespace", ("ns", ns));
        CType uts = t.Struct("new_utsname",
            ("sysname", t.Array(t.Char, 65)), ("nodename", t.Array(t.Char, 65)), ("release", t.Array(t.Char, 65)), ("version", t.Array(t.Char, 65)), ("machine", t.Array(t.Char, 65)));
        t.Struct("uts_namespace", ("name", uts), ("ns", ns));
        t.Struct("nsproxy", ("uts_ns", t.Pointer), ("mnt_ns", t.Pointer), ("net_ns", t.Pointer));
        CType css = t.Struct("cgroup_subsys_state", ("flags", t.U32), ("sibling", list), ("children", list));
        t.Struct("cgroup", ("self", css), ("kn", t.Pointer), ("root", t.Pointer));
        t.Struct("cgroup_root", ("hierarchy_id", t.S32), ("subsys_mask", t.U32), ("name", t.Array(t.Char, 64)));
        t.Struct("css_set", ("dfl_cgrp", t.Pointer), ("cgrp_links", list));
        t.Struct("cgrp_cset_link", ("cgrp", t.Pointer), ("cgrp_link", list));
        t.Struct("kernfs_node", (newer ? "__parent" : "parent", t.Pointer), ("name", t.Pointer), ("id", t.U64));
        t.Enum("dmi_field", ("DMI_NONE", 0), ("DMI_SYS_VENDOR", 1), ("DMI_PRODUCT_NAME", 2));
        t.Enum("x86_hypervisor_type", ("X86_HYPER_NATIVE", 0), ("X86_HYPER_KVM", 5));
    }

    private static void Net(SyntheticTypes t, CType list, CType counter)
    {
        t.Struct("net", ("dev_base_head", list));
        CType counts = t.Struct("net_device_stats", ("rx_packets", t.U64), ("tx_packets", t.U64), ("rx_bytes", t.U64), ("tx_bytes", t.U64));
        t.Struct("net_device",
            ("name", t.Array(t.Char, 16)), ("dev_list", list), ("state", t.U64), ("flags", t.U32), ("ifindex", t.S32), ("mtu", t.U32), ("operstate", t.U8), ("addr_len", t.U8), ("dev_addr", t.Pointer),
            ("ip_ptr", t.Pointer), ("ip6_ptr", t.Pointer), ("netdev_ops", t.Pointer), ("stats", counts));
        t.Struct("net_device_ops", ("ndo_get_stats64", t.Pointer));
        t.Struct("in_device", ("ifa_list", t.Pointer));
        t.Struct("in_ifaddr", ("ifa_next", t.Pointer), ("ifa_local", t.U32), ("ifa_prefixlen", t.U8));
        CType common = t.Struct("sock_common",
            ("skc_daddr", t.U32), ("skc_rcv_saddr", t.U32), ("skc_dport", t.U16), ("skc_num", t.U16), ("skc_family", t.U16), ("skc_state", t.U8), ("skc_nulls_node", t.Array(t.U64, 2)),
            ("skc_v6_daddr", t.Array(t.U8, 16)), ("skc_v6_rcv_saddr", t.Array(t.U8, 16)));
        CType backlog = t.Struct("sock_backlog", ("rmem_alloc", counter));
        t.Struct("sock",
            ("__sk_common", common), ("sk_type", t.U16), ("sk_protocol", t.U16), ("sk_backlog", backlog), ("sk_wmem_queued", t.S32), ("sk_ack_backlog", t.U32), ("sk_max_ack_backlog", t.U32));
        t.Overlay("unix_sock", 256, ("addr", t.Pointer, 128));
        t.Overlay("unix_address", 8, ("len", t.S32, 4), ("name", t.Array(t.U8, 0), 8));
        t.Struct("socket", ("sk", t.Pointer));
        CType nulls = t.Struct("hlist_nulls_head", ("first", t.Pointer));
        t.Struct("inet_timewait_sock", ("__tw_common", common), ("tw_substate", t.U8));
        t.Struct("inet_listen_hashbucket", ("lock", t.U32), ("nulls_head", nulls));
        t.Struct("inet_ehash_bucket", ("chain", nulls));
        t.Struct("inet_hashinfo", ("ehash", t.Pointer), ("ehash_mask", t.U32), ("lhash2_mask", t.U32), ("lhash2", t.Pointer));
    }
}
