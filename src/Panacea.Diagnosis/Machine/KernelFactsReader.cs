using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>The kernel and what it was told.</summary>
internal sealed class KernelFactsReader(LinuxKernel kernel, List<string> missing)
{
    /// <summary>Settings that decide what a failure leads to: sysctl name and the int behind it (kernel/sysctl.c, kernel/panic.c, kernel/hung_task.c, kernel/watchdog.c, kernel/rcu/update.c,
    /// mm/oom_kill.c).</summary>
    private static readonly (string Sysctl, string Symbol)[] PanicSettings =
    [
        ("kernel.panic", "panic_timeout"), ("kernel.panic_on_oops", "panic_on_oops"), ("kernel.panic_on_warn", "panic_on_warn"), ("kernel.panic_on_unrecovered_nmi", "panic_on_unrecovered_nmi"),
        ("kernel.panic_on_io_nmi", "panic_on_io_nmi"), ("kernel.hung_task_panic", "sysctl_hung_task_panic"), ("kernel.softlockup_panic", "softlockup_panic"),
        ("kernel.hardlockup_panic", "hardlockup_panic"), ("kernel.panic_on_rcu_stall", "sysctl_panic_on_rcu_stall"), ("kernel.oops_limit", "oops_limit"), ("vm.panic_on_oom", "sysctl_panic_on_oom"),
    ];

    public KernelFacts Read()
    {
        ImageMeta meta = kernel.Image.Meta;
        var panic = new SortedDictionary<string, long>(StringComparer.Ordinal);
        foreach ((string sysctl, string symbol) in PanicSettings)
        {
            if (!kernel.Image.TryFindSymbol(symbol, out ulong address))
                continue;
            if (kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint value, out MemoryFault fault))
                panic[sysctl] = unchecked((int)value);
            else
                missing.Add($"{sysctl}: {fault}");
        }

        return new KernelFacts(
            meta.Release, meta.Banner, meta.BuildId, CommandLine(), Try("host name", () => Hostname()), Uptime(),
            Try("taint", () => Taints.Letters(kernel.ReadSymbolU64("tainted_mask"))), panic);
    }

    private string? CommandLine() => Try("kernel command line", () =>
    {
        ulong text = kernel.ReadSymbolU64("saved_command_line");
        return kernel.Space.TryReadString(new VirtualAddress(text), 4096, out string line, out MemoryFault fault) ? line : throw new GuestMemoryException(fault, "saved_command_line");
    });

    private string Hostname() => kernel.ReadText(kernel.Symbol("init_uts_ns"), "uts_namespace.name.nodename");

    private long? Uptime()
    {
        long? ms = null;
        _ = Try("uptime", () => (ms = (long?)(KernelClock.Read(kernel).BoottimeNs / 1_000_000)) is null ? throw new KernelShapeException("the kernel's clock can't be found") : "");
        return ms;
    }

    private string? Try(string what, Func<string> read)
    {
        try
        {
            return read();
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            missing.Add($"{what}: {e.Message}");
            return null;
        }
    }
}
