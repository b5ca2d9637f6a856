using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Machine;

/// <summary>The kernel and what it was told.</summary>
internal sealed class KernelFactsReader(LinuxKernel kernel, List<string> missing)
{
    public KernelFacts Read()
    {
        ImageMeta meta = kernel.Image.Meta;
        var panic = new SortedDictionary<string, long>(StringComparer.Ordinal);
        foreach (Sysctl setting in Sysctls.Read(kernel))
            panic[setting.Name] = setting.Value;
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
