namespace Panacea.TestKit.Linux;

internal static partial class KernelTypes
{
    /// <summary>The links that the kernel's structures are made of: list_head comes first, from the caller.</summary>
    private static void Structures(SyntheticTypes t, CType list)
    {
        CType atomic = t.Struct("atomic_t", ("counter", t.S32));
        CType lockWord = t.Struct("raw_spinlock", ("val", atomic));
        t.Struct("hlist_node", ("next", t.Pointer), ("pprev", t.Pointer));
        t.Struct("rb_node", ("__rb_parent_color", t.U64), ("rb_right", t.Pointer), ("rb_left", t.Pointer));
        CType root = t.Struct("rb_root", ("rb_node", t.Pointer));
        t.Struct("rb_root_cached", ("rb_root", root), ("rb_leftmost", t.Pointer));
        CType array = t.Struct("xarray", ("xa_lock", lockWord), ("xa_flags", t.U32), ("xa_head", t.Pointer));
        t.Struct("xa_node",
            ("shift", t.U8), ("offset", t.U8), ("count", t.U8), ("nr_values", t.U8), ("parent", t.Pointer), ("array", t.Pointer), ("private_list", list), ("slots", t.Array(t.Pointer, 64)));
        t.Struct("idr", ("idr_rt", array), ("idr_base", t.U32), ("idr_next", t.U32));
        t.Struct("plist_head", ("node_list", list));
        t.Struct("plist_node", ("prio", t.S32), ("prio_list", list), ("node_list", list));
        t.Struct("percpu_counter", ("lock", lockWord), ("count", t.S64), ("list", list), ("counters", t.Pointer));
    }
}
