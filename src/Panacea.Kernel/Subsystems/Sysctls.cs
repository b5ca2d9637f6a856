using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A setting of the kernel.</summary>
/// <param name="Name">As sysctl spells it, <c>kernel.panic_on_oops</c>.</param>
/// <param name="Value">Its value; signed where the setting is.</param>
public sealed record Sysctl(string Name, long Value);

/// <summary>The settings that decide what the kernel does when something goes wrong. Their variables' names and sizes are facts of their definitions; a variable that a kernel does not
/// have is left out.</summary>
public static class Sysctls
{
    /// <param name="Name">As sysctl spells it.</param>
    /// <param name="Bytes">Size of the variable; negative where it is signed.</param>
    /// <param name="Symbols">Its names over time, newest first.</param>
    private sealed record Setting(string Name, int Bytes, params string[] Symbols);

    private static readonly Setting[] Known =
    [
        new("kernel.panic", -4, "panic_timeout"),
        new("kernel.panic_on_oops", -4, "panic_on_oops"),
        new("kernel.panic_on_warn", -4, "panic_on_warn"),
        new("kernel.panic_print", 8, "panic_print"),
        new("kernel.panic_on_taint", 8, "panic_on_taint"),
        new("kernel.panic_on_io_nmi", -4, "panic_on_io_nmi"),
        new("kernel.panic_on_unrecovered_nmi", -4, "panic_on_unrecovered_nmi"),
        new("kernel.unknown_nmi_panic", -4, "unknown_nmi_panic"),
        new("kernel.panic_on_rcu_stall", -4, "sysctl_panic_on_rcu_stall"),
        new("kernel.max_rcu_stall_to_panic", -4, "sysctl_max_rcu_stall_to_panic"),
        new("kernel.hung_task_panic", -4, "sysctl_hung_task_panic"),
        new("kernel.hung_task_timeout_secs", 8, "sysctl_hung_task_timeout_secs"),
        new("kernel.softlockup_panic", -4, "softlockup_panic"),
        new("kernel.hardlockup_panic", -4, "hardlockup_panic"),
        new("kernel.watchdog_thresh", -4, "watchdog_thresh"),
        new("kernel.oops_limit", 4, "oops_limit"),
        new("kernel.warn_limit", 4, "warn_limit"),
        new("kernel.kptr_restrict", -4, "kptr_restrict"),
        new("kernel.dmesg_restrict", -4, "dmesg_restrict"),
        new("kernel.randomize_va_space", -4, "randomize_va_space"),
        new("kernel.modules_disabled", -4, "modules_disabled"),
        new("kernel.kexec_load_disabled", -4, "kexec_load_disabled"),
        new("kernel.threads-max", -4, "max_threads"),
        new("kernel.pid_max", -4, "pid_max"),
        new("vm.panic_on_oom", -4, "sysctl_panic_on_oom"),
        new("vm.oom_kill_allocating_task", -4, "sysctl_oom_kill_allocating_task"),
        new("vm.overcommit_memory", -4, "sysctl_overcommit_memory"),
        new("vm.overcommit_ratio", -4, "sysctl_overcommit_ratio"),
        new("vm.min_free_kbytes", -4, "min_free_kbytes"),
    ];

    /// <summary>The settings that this kernel has.</summary>
    public static List<Sysctl> Read(LinuxKernel kernel)
    {
        var found = new List<Sysctl>();
        foreach (Setting setting in Known)
        {
            int bytes = Math.Abs(setting.Bytes);
            foreach (string symbol in setting.Symbols)
            {
                if (kernel.TryReadVariable(symbol, bytes) is not { } value)
                    continue;
                int unused = 64 - (bytes * 8);
                found.Add(new Sysctl(setting.Name, setting.Bytes < 0 ? unchecked((long)(value << unused) >> unused) : unchecked((long)value)));
                break;
            }
        }

        return found;
    }

    /// <summary>A crash kernel is loaded (kexec_crash_image): a panic runs it.</summary>
    /// <returns>Null where the kernel has no kexec.</returns>
    public static bool? HasCrashKernel(LinuxKernel kernel) => kernel.TryReadVariable("kexec_crash_image") is { } image ? image != 0 : null;
}
