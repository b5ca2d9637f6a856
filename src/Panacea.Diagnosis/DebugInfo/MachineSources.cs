using Panacea.Diagnosis.Machine;
using Panacea.Formats.Dwarf;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.DebugInfo;

/// <summary>What of a machine is needed to find its debug information; read while it stands still.</summary>
/// <param name="BuildId">The kernel's build id; null where it could not be read.</param>
/// <param name="TextBase">Guest-virtual address of _text.</param>
/// <param name="Modules">Build ids of the modules that stacks lead through; null where one could not be read.</param>
public sealed record MachineBuilds(string? BuildId, ulong TextBase, IReadOnlyDictionary<string, string?> Modules)
{
    /// <summary>Reads them.</summary>
    /// <param name="machine">The machine.</param>
    /// <param name="report">What is said of it.</param>
    /// <param name="limits">Ceilings.</param>
    public static MachineBuilds Read(StandingMachine machine, MachineReport report, TargetLimits limits)
    {
        var builds = new Dictionary<string, string?>(StringComparer.Ordinal);
        HashSet<string> wanted = [.. MachineSources.Locations(report).Select(l => l.Module).OfType<string>()];
        if (wanted.Count > 0)
        {
            LinuxKernel kernel = machine.Image.KernelOver(machine.Memory);
            try
            {
                foreach (LinuxModule module in Kernel.Subsystems.Modules.Enumerate(kernel, limits).Where(m => wanted.Contains(m.Name)))
                    builds[module.Name] = BuildIdOf(kernel, module.Address);
            }
            catch (Exception e) when (ReportInputs.IsReadFailure(e))
            {
                // The report names modules that it could not read; those have no build id here.
            }
        }

        // BUILD-ID of VMCOREINFO is wrong in some stable releases: the notes go first. A wrong one finds no file.
        string? id = machine.Image.Meta.BuildId
            ?? (machine.Image.Meta.VmcoreInfo is { } text && Formats.VmcoreInfo.VmcoreInfoData.TryParse(System.Text.Encoding.UTF8.GetBytes(text), Formats.FormatLimits.Default, out var info, out _)
                && info.TryGetBuildId(out byte[] bytes) ? Convert.ToHexStringLower(bytes) : null);
        return new MachineBuilds(id, machine.Image.Meta.TextBase, builds);
    }

    private static string? BuildIdOf(LinuxKernel kernel, ulong module)
    {
        try
        {
            return ModuleBuildIds.Read(kernel, module);
        }
        catch (Exception e) when (ReportInputs.IsReadFailure(e))
        {
            return null;
        }
    }
}

/// <summary>Adds source lines and inlined functions to what is said of a machine.</summary>
public static class MachineSources
{
    /// <summary>The same report with them.</summary>
    /// <param name="report">The report.</param>
    /// <param name="builds">Which builds the machine runs.</param>
    /// <param name="files">Where debug information may be found.</param>
    public static MachineReport Add(MachineReport report, MachineBuilds builds, DebugFiles files)
    {
        var lookup = new Lookup(report.Kernel.Release, builds, files);
        report = report with
        {
            Crash = report.Crash is { } crash ? Add(crash, lookup) : null,
            Cpus = [.. report.Cpus.Select(c => c with { Stack = Add(c.Stack, lookup) })],
            Tasks = report.Tasks is { } tasks ? tasks with { Uninterruptible = [.. tasks.Uninterruptible.Select(t => t with { Stack = Add(t.Stack, lookup) })] } : null,
        };
        return report with { DebugFiles = files.Used, Missing = [.. report.Missing, .. files.NotUsed] };
    }

    internal static IEnumerable<CodeLocation> Locations(MachineReport report) =>
        (report.Crash is { } crash ? [crash.Location, .. crash.Stack.Select(f => f.Location)] : Enumerable.Empty<CodeLocation>())
        .Concat(report.Cpus.SelectMany(c => c.Stack).Select(f => f.Location))
        .Concat(report.Tasks?.Uninterruptible.SelectMany(t => t.Stack).Select(f => f.Location) ?? []);

    private static CrashReport Add(CrashReport crash, Lookup lookup)
    {
        List<ReportFrame> stack = Add(crash.Stack, lookup);

        // The function at fault is one of the frames, as a rule; else it is where the processor stood.
        CodeLocation at = stack.FirstOrDefault(f => f.Location.Address == crash.Location.Address)?.Location ?? lookup.Locate(crash.Location, isReturn: false);
        return crash with { Stack = stack, Location = crash.Location with { Source = at.Source, Inlined = at.Inlined } };
    }

    private static List<ReportFrame> Add(IReadOnlyList<ReportFrame> stack, Lookup lookup) => [.. stack.Select(f => f with { Location = lookup.Locate(f.Location, isReturn: !f.IsTrap) })];

    private sealed class Lookup(string release, MachineBuilds builds, DebugFiles files)
    {
        private readonly Dictionary<string, OpenDebugFile?> _modules = new(StringComparer.Ordinal);
        private readonly Dictionary<(ulong, bool), SourcePlace?> _known = [];
        private OpenDebugFile? _kernel;
        private bool _asked;

        public CodeLocation Locate(CodeLocation location, bool isReturn)
        {
            if (!_known.TryGetValue((location.Address, isReturn), out SourcePlace? place))
                _known[(location.Address, isReturn)] = place = Find(location, isReturn);
            return place is null ? location : location with { Source = place.Source, Inlined = place.Inlined };
        }

        private SourcePlace? Find(CodeLocation location, bool isReturn)
        {
            // A call may be the last instruction of its line, or of its function: what is behind it belongs to the next.
            ulong back = isReturn ? 1UL : 0;
            if (location.Function is null || location.Offset < back)
                return null;
            if (location.Module is not { } module)
            {
                if (!_asked)
                    (_kernel, _asked) = (files.KernelById(release, builds.BuildId), true);
                if (_kernel?.Debug is not { } kernel || kernel.Symbols.Find("_text") is not [var text, ..])
                    return null;

                // KASLR moves all of it by one distance.
                return kernel.TryLocate(unchecked(location.Address - back - builds.TextBase + text.Address), out SourcePlace place, out _) ? place : null;
            }

            if (!_modules.TryGetValue(module, out OpenDebugFile? file))
                _modules[module] = file = files.ModuleById(module, release, builds.Modules.GetValueOrDefault(module));
            return file?.Debug is { } debug && DebugFiles.AddressOf(debug, location.Function, location.Offset - back, location.Size) is { } address
                && debug.TryLocate(address, out SourcePlace found, out _) ? found : null;
        }
    }
}
