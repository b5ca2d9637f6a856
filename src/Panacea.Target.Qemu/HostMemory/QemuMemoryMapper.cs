using System.Globalization;
using Panacea.Target.Qemu.Qmp;

namespace Panacea.Target.Qemu.HostMemory;

/// <summary>Finds a guest's RAM in QEMU's process: layout from <c>info mtree -f</c>, host addresses from <c>gpa2hva</c>, the rest from /proc.</summary>
internal static class QemuMemoryMapper
{
    /// <summary>One run of guest memory and where QEMU has it.</summary>
    internal readonly record struct Located(FlatRange Flat, ulong HostAddress);

    /// <summary>Asks QEMU for the layout and each run's host address, checked at both ends.</summary>
    /// <remarks>Firmware rearranges the area below 1 MiB while it runs (the chipset's PAM registers), also between our questions: then once more.</remarks>
    public static IReadOnlyList<Located> Locate(QmpClient qmp)
    {
        const int attempts = 20;
        for (int attempt = 1; ; attempt++)
        {
            try
            {
                return LocateOnce(qmp);
            }
            catch (LayoutChangedException) when (attempt < attempts)
            {
                // A fresh layout may fit.
            }
        }
    }

    private static List<Located> LocateOnce(QmpClient qmp)
    {
        string text = qmp.HumanMonitor("info mtree -f -o");
        if (!text.Contains("FlatView #", StringComparison.Ordinal))
            text = qmp.HumanMonitor("info mtree -f");
        var located = new List<Located>();
        foreach (FlatRange flat in MtreeParser.Parse(text))
        {
            if (HostAddress(qmp, flat.Range.Start.Value) is not { } start)
            {
                if (flat.IsReadOnly)
                    continue; // Nobody needs a ROM that gpa2hva does not show.
                throw new LayoutChangedException($"QEMU does not say where it keeps the guest's memory at {flat.Range.Start}");
            }

            if (HostAddress(qmp, flat.Range.End.Value - 1) != unchecked(start + flat.Range.Length - 1) || start > ulong.MaxValue - flat.Range.Length)
                throw new LayoutChangedException($"QEMU's answers about the guest's memory at {flat.Range.Start} do not fit together");
            located.Add(new Located(flat, start));
        }

        return located;
    }

    /// <summary>Opens each run by the fastest way that works.</summary>
    /// <exception cref="TargetException">QEMU's memory cannot be read from here.</exception>
    public static QemuMemory Open(int pid, IReadOnlyList<Located> located, bool allowShared)
    {
        IReadOnlyList<ProcessMapping> mappings = ProcessMapping.ReadAll(pid);
        var regions = new List<RegionBacking>();
        try
        {
            foreach (Located run in located)
            {
                ProcessMapping? mapping = Find(mappings, run.HostAddress, run.Flat.Range.Length);
                RegionBacking region = allowShared && mapping is { } m && SharedMapping.TryOpen(pid, run.HostAddress, run.Flat, m) is { } shared
                    ? shared
                    : new ProcessVmMemory(pid, run.HostAddress, run.Flat, IsAnonymous(mappings, run));
                regions.Add(region);
                byte[] probe = new byte[1];

                // A mapping that stands can be read; reading it here might populate its first page.
                if (!region.IsShared && !region.TryRead(0, probe, out MemoryFaultKind why))
                    throw new TargetException(
                        why == MemoryFaultKind.Gone
                            ? $"QEMU (pid {pid}) is gone"
                            : $"no permission to read the memory of QEMU (pid {pid}): run Panacea as QEMU's own user or as root (see also kernel.yama.ptrace_scope)");
            }

            return new QemuMemory(regions);
        }
        catch
        {
            regions.ForEach(r => r.Dispose());
            throw;
        }
    }

    /// <summary>True where the process has something mapped at every run: a check that it is the QEMU that answered.</summary>
    public static bool Holds(int pid, IReadOnlyList<Located> located)
    {
        try
        {
            IReadOnlyList<ProcessMapping> mappings = ProcessMapping.ReadAll(pid);
            return located.All(run => mappings.Any(m => run.HostAddress >= m.Start && run.HostAddress < m.End));
        }
        catch (TargetException)
        {
            return false;
        }
    }

    private static ProcessMapping? Find(IReadOnlyList<ProcessMapping> mappings, ulong address, ulong length)
    {
        foreach (ProcessMapping m in mappings)
        {
            if (address >= m.Start && address < m.End)
                return length <= m.End - address ? m : null;
        }

        return null;
    }

    private static bool IsAnonymous(IReadOnlyList<ProcessMapping> mappings, Located run) =>
        mappings.Where(m => m.End > run.HostAddress && m.Start < run.HostAddress + run.Flat.Range.Length).All(m => m.Inode == 0);

    /// <summary>"Host virtual address for 0x100000 (pc.ram) is 0x7f0f27f00000" (monitor/misc.c, hmp_gpa2hva); null where it is no RAM.</summary>
    private static ulong? HostAddress(QmpClient qmp, ulong address)
    {
        string text = qmp.HumanMonitor($"gpa2hva 0x{address:x}").Trim();
        int at = text.LastIndexOf(" is 0x", StringComparison.Ordinal);
        return text.StartsWith("Host virtual address for", StringComparison.Ordinal) && at >= 0
            && ulong.TryParse(text.AsSpan(at + 6), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong host) && host != 0
            ? host
            : null;
    }

    private sealed class LayoutChangedException(string message) : TargetException(message);
}
