using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Oracles;

/// <summary>drgn, with the debug package of the kernel: its own helpers over DWARF, and its own unwinder.</summary>
internal static class DrgnProgram
{
    /// <summary>Says everything a line each, words with tabs between them.</summary>
    private const string Script = """
        from drgn.helpers.linux import *

        def say(*words):
            print(*[w.decode(errors="replace") if isinstance(w, bytes) else w for w in words], sep="\t")

        for cpu in for_each_online_cpu(prog):
            say("online", cpu)
        tasks = [idle_task(prog, cpu) for cpu in for_each_possible_cpu(prog) if per_cpu(prog["runqueues"], cpu).idle]
        tasks += list(for_each_task(prog))
        for task in tasks:
            address = format(task.value_(), "x")
            say("task", address, task.pid.value_(), task.real_parent.tgid.value_(), task_cpu(task), task_state_to_char(task), task.comm.string_())
            say("stack", address, *[format(f.pc, "x") for f in prog.stack_trace(task) if not f.is_inline])
        for module in for_each_module(prog):
            say("module", module.name.string_(), format(module.value_(), "x"))
        for line in get_dmesg(prog).split(b"\n"):
            say("log", line)
        for mount in for_each_mount(prog):
            say("mount", format(mount.value_(), "x"), mount_fstype(mount), mount_src(mount), mount_dst(mount))
        for task in tasks:
            if task.comm.string_() in (b"init", b"redis-server", b"counter") and task.files:
                for fd, file in for_each_file(task):
                    say("file", task.pid.value_(), fd, format(file.value_(), "x"), d_path(file.f_path))
        for cache in for_each_slab_cache(prog):
            say("slab", format(cache.value_(), "x"), cache.name.string_(), cache.object_size.value_())
        for disk in for_each_disk(prog):
            say("disk", disk_name(disk), format(disk.value_(), "x"))
        say("memory", totalram_pages(prog))
        """;

    /// <summary>Runs it over a dump.</summary>
    public static async Task<ILookup<string, string[]>> RunAsync(DeadDump dump)
    {
        DumpReaderInstallation readers = await DumpReaders.GetAsync();
        string output = await HostCommand.MustAsync(readers.Drgn.Command[0], [.. readers.Drgn.Command.Skip(1), "-q", "-c", dump.Path, "-s", dump.Debug.Vmlinux, "-e", Script]);
        return output.Split('\n', StringSplitOptions.RemoveEmptyEntries).Select(l => l.Split('\t')).ToLookup(w => w[0], w => w[1..]);
    }
}
