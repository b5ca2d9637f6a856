using System.Text;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Who a task acts as (struct cred). Ids are the kernel's own (kuid_t), as the first user namespace sees them.</summary>
/// <param name="Uid">Real user.</param>
/// <param name="EffectiveUid">Effective user.</param>
/// <param name="Gid">Real group.</param>
/// <param name="EffectiveGid">Effective group.</param>
/// <param name="Permitted">Permitted capabilities, bit by number (include/uapi/linux/capability.h).</param>
/// <param name="Effective">Effective capabilities.</param>
public sealed record TaskCredentials(uint Uid, uint EffectiveUid, uint Gid, uint EffectiveGid, ulong Permitted, ulong Effective);

/// <summary>A line of /proc/PID/cgroup.</summary>
/// <param name="Hierarchy">Number of the hierarchy; 0 is cgroup v2.</param>
/// <param name="Controllers">Controllers and name of a v1 hierarchy; empty for v2.</param>
/// <param name="Path">From the root of the hierarchy; a removed group has <c> (deleted)</c> behind it.</param>
public sealed record TaskCgroup(int Hierarchy, string Controllers, string Path);

/// <summary>What surrounds a task: groups, namespaces, credentials, ancestors.</summary>
public static class TaskEnvironment
{
    /// <summary>Depth of a cgroup tree, and hierarchies there can be.</summary>
    private const int MaxDepth = 1024, MaxHierarchies = 256;

    /// <summary>Capabilities and subsystems fit a 64-bit mask.</summary>
    private const int MaxSubsystems = 32;

    /// <summary>CSS_DYING... of the group itself: CSS_ONLINE is cleared when it is removed (enum, include/linux/cgroup-defs.h).</summary>
    private const ulong Online = 1 << 1;

    /// <summary>The namespaces in nsproxy by their names in /proc/PID/ns.</summary>
    private static readonly (string Name, string Member, string Type)[] NsproxyMembers =
    [
        ("uts", "uts_ns", "uts_namespace"), ("ipc", "ipc_ns", "ipc_namespace"), ("mnt", "mnt_ns", "mnt_namespace"), ("net", "net_ns", "net"),
        ("time", "time_ns", "time_namespace"), ("cgroup", "cgroup_ns", "cgroup_namespace"), ("pid_for_children", "pid_ns_for_children", "pid_namespace"),
    ];

    /// <summary>The path in the v2 hierarchy: what systemd calls the task's unit; empty where the task has none.</summary>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    /// <exception cref="KernelShapeException">The path does not end, or the kernel lacks the types.</exception>
    public static string CgroupPath(LinuxKernel kernel, LinuxTask task)
    {
        ulong set = kernel.Read(task.Address, "task_struct.cgroups");
        return set == 0 ? "" : PathOf(kernel, kernel.Read(set, "css_set.dfl_cgrp"));
    }

    /// <summary>The groups of a task in all hierarchies, as /proc/PID/cgroup lists them.</summary>
    /// <inheritdoc cref="CgroupPath" path="/exception"/>
    public static List<TaskCgroup> Cgroups(LinuxKernel kernel, LinuxTask task, TargetLimits limits)
    {
        var groups = new List<TaskCgroup>();
        ulong set = kernel.Read(task.Address, "task_struct.cgroups");
        if (set == 0)
            return groups;
        ulong common = kernel.Read(set, "css_set.dfl_cgrp");
        foreach (ulong link in Lists.Entries(kernel, unchecked(set + kernel.Offset("css_set.cgrp_links")), "cgrp_cset_link.cgrp_link", limits).Take(MaxHierarchies))
        {
            ulong group = kernel.Read(link, "cgrp_cset_link.cgrp"), root = kernel.Read(group, "cgroup.root");
            groups.Add(new TaskCgroup(
                kernel.ReadS32(root, "cgroup_root.hierarchy_id"), group == common ? "" : Controllers(kernel, root), PathOf(kernel, group)));
        }

        // The default hierarchy is linked to the first set only where it is mounted; every set names its group.
        if (common != 0 && groups.All(g => g.Hierarchy != 0))
            groups.Add(new TaskCgroup(0, "", PathOf(kernel, common)));
        return [.. groups.OrderByDescending(g => g.Hierarchy)];
    }

    /// <summary>The host name that a task sees (its UTS namespace).</summary>
    /// <returns>Null for a task that has given up its namespaces.</returns>
    /// <exception cref="GuestMemoryException">It can't be read.</exception>
    public static string? HostName(LinuxKernel kernel, LinuxTask task)
    {
        ulong proxy = kernel.Read(task.Address, "task_struct.nsproxy");
        return proxy == 0 ? null : kernel.ReadText(kernel.Read(proxy, "nsproxy.uts_ns"), "uts_namespace.name.nodename");
    }

    /// <summary>Inode numbers of a task's namespaces by their names in /proc/PID/ns; those that this kernel does not have are left out.</summary>
    /// <exception cref="GuestMemoryException">One can't be read.</exception>
    public static IReadOnlyDictionary<string, uint> Namespaces(LinuxKernel kernel, LinuxTask task)
    {
        var found = new Dictionary<string, uint>(StringComparer.Ordinal);
        ulong proxy = kernel.Read(task.Address, "task_struct.nsproxy");
        foreach ((string name, string member, string type) in NsproxyMembers)
        {
            if (proxy != 0 && kernel.HasMember($"nsproxy.{member}") && kernel.HasMember($"{type}.ns.inum") && kernel.Read(proxy, $"nsproxy.{member}") is var ns && ns != 0)
                found[name] = kernel.ReadU32(ns, $"{type}.ns.inum");
        }

        ulong user = kernel.Read(kernel.Read(task.Address, "task_struct.real_cred"), "cred.user_ns");
        if (user != 0)
            found["user"] = kernel.ReadU32(user, "user_namespace.ns.inum");
        return found;
    }

    /// <summary>Who a task is (its objective credentials, real_cred, as /proc/PID/status shows them).</summary>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public static TaskCredentials Credentials(LinuxKernel kernel, LinuxTask task)
    {
        ulong cred = kernel.Read(task.Address, "task_struct.real_cred");
        uint Id(string member) => kernel.ReadU32(cred, $"cred.{member}.val");

        // Two words up to 6.2, one of 64 bits since (commit f122a08b197d, "capability: just use a 'u64' instead of a 'u32[2]' array").
        ulong Capabilities(string member) => kernel.HasMember($"cred.{member}.val")
            ? kernel.Read(cred, $"cred.{member}.val")
            : kernel.Read(cred, $"cred.{member}.cap[0]") | kernel.Read(cred, $"cred.{member}.cap[1]") << 32;
        return new TaskCredentials(Id("uid"), Id("euid"), Id("gid"), Id("egid"), Capabilities("cap_permitted"), Capabilities("cap_effective"));
    }

    /// <summary>The ancestors of a task, nearest first, up to the first process or as far as they can be read.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="task">The task.</param>
    /// <param name="most">How many at most.</param>
    public static List<LinuxTask> Ancestors(LinuxKernel kernel, LinuxTask task, int most = 64)
    {
        var chain = new List<LinuxTask>();
        var seen = new HashSet<ulong> { task.Address };
        ulong at = task.Address;
        while (chain.Count < most)
        {
            LinuxTask? parent = KernelReads.Try<LinuxTask?>(() => Tasks.ReadTask(kernel, kernel.Read(at, "task_struct.real_parent")), null);
            if (parent is null || parent.Pid == 0 || !seen.Add(parent.Address))
                break;
            chain.Add(parent);
            at = parent.Address;
        }

        return chain;
    }

    private static string PathOf(LinuxKernel kernel, ulong group)
    {
        if (group == 0)
            return "";
        var names = new List<string>();
        ulong node = kernel.Read(group, "cgroup.kn");

        // kernfs_node.parent is __parent since 6.15 (commit 633488947ef6, "kernfs: Use RCU to access kernfs_node::parent.").
        for (int depth = 0; node != 0; depth++)
        {
            if (depth > MaxDepth)
                throw new KernelShapeException($"the path of the cgroup at 0x{group:x} does not end within {MaxDepth} levels");
            ulong parent = kernel.ReadFirst(node, "kernfs_node.parent", "kernfs_node.__parent");
            if (parent != 0)
                names.Add(kernel.ReadString(kernel.Read(node, "kernfs_node.name"), "kernfs_node.name", 1024));
            node = parent;
        }

        var path = new StringBuilder(names.Count == 0 ? "/" : "");
        for (int i = names.Count - 1; i >= 0; i--)
            path.Append('/').Append(names[i]);
        return (kernel.Read(group, "cgroup.self.flags") & Online) == 0 && names.Count > 0 ? path.Append(" (deleted)").ToString() : path.ToString();
    }

    private static string Controllers(LinuxKernel kernel, ulong root)
    {
        ulong mask = kernel.Read(root, "cgroup_root.subsys_mask");
        var names = new List<string>();
        kernel.Image.TryFindSymbol("cgroup_subsys_name", out ulong table);
        for (int i = 0; i < MaxSubsystems; i++)
        {
            if ((mask >> i & 1) != 0)
                names.Add(table == 0 ? $"{i}" : KernelReads.Try(() => kernel.ReadString(kernel.ReadU64(unchecked(table + ((ulong)i * 8)), "cgroup_subsys_name"), "cgroup_subsys_name", 64), $"{i}"));
        }

        string name = kernel.ReadText(root, "cgroup_root.name");
        if (name.Length > 0)
            names.Add($"name={name}");
        return string.Join(',', names);
    }
}
