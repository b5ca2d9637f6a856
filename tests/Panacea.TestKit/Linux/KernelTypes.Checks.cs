namespace Panacea.TestKit.Linux;

internal static partial class KernelTypes
{
    /// <summary>Families, pids and tables of functions.</summary>
    /// <returns>The members of task_struct that lead to them.</returns>
    private static (string, CType)[] Families(SyntheticTypes t, CType list)
    {
        CType number = t.Struct("upid", ("nr", t.S32), ("ns", t.Pointer));
        t.Struct("pid", ("level", t.U32), ("tasks", t.Array(t.Pointer, 4)), ("numbers", t.Array(number, 1)));
        t.Struct("pid_namespace", ("idr", t.Known("idr")));
        t.Struct("file_operations", ("owner", t.Pointer), ("read", t.Pointer), ("write", t.Pointer));
        return
        [
            ("children", list), ("sibling", list), ("group_leader", t.Pointer), ("thread_pid", t.Pointer), ("pid_links", t.Array(t.Known("hlist_node"), 4)), ("stack_canary", t.U64),
        ];
    }
}
