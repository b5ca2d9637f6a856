using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Function pointers through which the kernel works on what is open: where one leads out of the kernel's code, the next call goes there.</summary>
public sealed class OperationsValidator : IValidator
{
    /// <summary>Members that are functions (include/linux/fs.h, dcache.h); those that a kernel lacks are passed over.</summary>
    private static readonly (string Type, string[] Members)[] Tables =
    [
        ("file_operations",
        [
            "llseek", "read", "write", "read_iter", "write_iter", "iopoll", "iterate", "iterate_shared", "poll", "unlocked_ioctl", "compat_ioctl", "mmap", "mmap_prepare", "open", "flush", "release",
            "fsync", "fasync", "lock", "sendpage", "get_unmapped_area", "check_flags", "flock", "splice_write", "splice_read", "splice_eof", "setlease", "fallocate", "show_fdinfo",
            "copy_file_range", "remap_file_range", "fadvise", "uring_cmd", "uring_cmd_iopoll",
        ]),
        ("inode_operations",
        [
            "lookup", "get_link", "permission", "get_inode_acl", "get_acl", "readlink", "create", "link", "unlink", "symlink", "mkdir", "rmdir", "mknod", "rename", "setattr", "getattr", "listxattr",
            "fiemap", "update_time", "atomic_open", "tmpfile", "set_acl", "fileattr_set", "fileattr_get", "get_offset_ctx",
        ]),
        ("super_operations",
        [
            "alloc_inode", "destroy_inode", "free_inode", "dirty_inode", "write_inode", "drop_inode", "evict_inode", "put_super", "sync_fs", "freeze_super", "freeze_fs", "thaw_super", "unfreeze_fs",
            "statfs", "remount_fs", "umount_begin", "show_options", "show_devname", "show_path", "show_stats", "nr_cached_objects", "free_cached_objects", "shutdown",
        ]),
        ("dentry_operations", ["d_revalidate", "d_weak_revalidate", "d_hash", "d_compare", "d_delete", "d_init", "d_release", "d_prune", "d_iput", "d_dname", "d_automount", "d_manage", "d_real"]),
        ("address_space_operations",
        [
            "writepage", "read_folio", "writepages", "dirty_folio", "readahead", "write_begin", "write_end", "bmap", "invalidate_folio", "release_folio", "free_folio", "direct_IO", "migrate_folio",
            "launder_folio", "is_partially_uptodate", "is_dirty_writeback", "error_remove_page", "error_remove_folio", "swap_activate", "swap_deactivate", "swap_rw",
        ]),
    ];

    /// <inheritdoc/>
    public string Name => "operations";

    /// <inheritdoc/>
    public string Description => "function pointers of the operations of open files, their inodes, dentries, mappings and file systems lead to code";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "operations");
        var tables = new Dictionary<(string Type, ulong At), string>();
        foreach (ulong file in FileValidator.Open(context, notes))
        {
            notes.Guard($"the file at 0x{file:x}", () =>
            {
                if (!notes.Count("files"))
                    return;
                Add("file_operations", file, "file.f_op", mustBe: true);
                ulong inode = kernel.Read(file, "file.f_inode"), dentry = kernel.Read(file, "file.f_path.dentry");
                if (inode != 0)
                {
                    Add("inode_operations", inode, "inode.i_op", mustBe: true);
                    if (kernel.HasMember("inode.i_mapping") && kernel.Read(inode, "inode.i_mapping") is var mapping && mapping != 0)
                        Add("address_space_operations", mapping, "address_space.a_ops", mustBe: true);
                    if (kernel.HasMember("inode.i_sb") && kernel.Read(inode, "inode.i_sb") is var super && super != 0)
                        Add("super_operations", super, "super_block.s_op", mustBe: true);
                }

                if (dentry != 0)
                    Add("dentry_operations", dentry, "dentry.d_op", mustBe: false);
            });
        }

        foreach (((string type, ulong at), string whose) in tables)
            notes.Guard($"{type} at 0x{at:x}", () => Table(context, notes, type, at, whose));
        return notes.Done();

        void Add(string type, ulong owner, string member, bool mustBe)
        {
            if (!kernel.HasMember(member))
                return;
            ulong at = kernel.Read(owner, member);
            if (at != 0)
                tables.TryAdd((type, at), $"{member} of 0x{owner:x}");
            else if (mustBe)
                notes.Found("null", Confidence.High, $"{member} of 0x{owner:x} is NULL");
        }
    }

    private static void Table(CheckContext context, CheckNotes notes, string type, ulong at, string whose)
    {
        LinuxKernel kernel = context.Kernel;
        notes.Count("tables");
        string name = kernel.Image.Symbolize(at) is { Offset: 0 } symbol ? symbol.Name : $"0x{at:x}";
        foreach (string member in Tables.First(t => t.Type == type).Members)
        {
            if (!kernel.HasMember($"{type}.{member}"))
                continue;
            notes.Count("pointers");
            ulong to = kernel.Read(at, $"{type}.{member}");
            if (to != 0 && !context.Text.Contains(to))
                notes.Found("function", Confidence.High, $"{member} of the {type} {name} leads to 0x{to:x}, which is no code", $"{type} 0x{at:x}", whose);
        }
    }
}
