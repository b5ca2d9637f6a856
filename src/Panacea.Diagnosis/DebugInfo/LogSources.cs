using Panacea.Diagnosis.ConsoleLog;
using Panacea.Formats.Dwarf;

namespace Panacea.Diagnosis.DebugInfo;

/// <summary>
/// Adds source lines and inlined functions to the diagnosis of a log. A log has no build ids: a kernel's file is used where its banner is the log's, or, where the log does not have the banner,
/// where release and build are the same and every function on the log's stacks has the size there that the log says. A module's file is used where the sizes agree too, and nothing says that it was built
/// for another release. More of them have to agree where it does not say that it was for this one (a file of debug information alone does not: .modinfo is not in it), or where the kernel's own file is not there.
/// </summary>
public static class LogSources
{
    /// <summary>Functions whose sizes have to agree where nothing else shows the build.</summary>
    private const int LeastSizes = 3;

    /// <summary>The same diagnosis with them.</summary>
    /// <param name="diagnosis">The diagnosis.</param>
    /// <param name="files">Where debug information may be found.</param>
    public static LogDiagnosis Add(LogDiagnosis diagnosis, DebugFiles files)
    {
        Dictionary<int, Boot> boots = diagnosis.Reports.GroupBy(r => r.Boot).ToDictionary(g => g.Key, g => new Boot([.. g], files));
        return diagnosis with
        {
            Reports = [.. diagnosis.Reports.Select(r => boots[r.Boot].Add(r))],
            DebugFiles = files.Used,
            Unavailable = [.. diagnosis.Unavailable, .. files.NotUsed],
        };
    }

    /// <summary>What one kernel has logged.</summary>
    private sealed class Boot
    {
        private readonly IReadOnlyList<LogCrash> _reports;
        private readonly DebugFiles _files;
        private readonly Dictionary<string, OpenDebugFile?> _modules = new(StringComparer.Ordinal);
        private readonly Dictionary<(string?, string, ulong, bool), SourcePlace?> _known = [];
        private readonly string? _release, _build, _banner;
        private readonly OpenDebugFile? _kernel;

        public Boot(IReadOnlyList<LogCrash> reports, DebugFiles files)
        {
            (_reports, _files) = (reports, files);
            _release = reports.Select(r => r.KernelRelease).FirstOrDefault(r => r is not null);
            _build = reports.Select(r => r.KernelBuild).FirstOrDefault(b => b is not null);
            _banner = reports.Select(r => r.Banner).FirstOrDefault(b => b is not null);
            if (_release is null)
                files.Say("debug information: the log does not name the kernel's release, so no file can be shown to be of its build");
            else
                _kernel = files.KernelWhere(_release, IsKernel);
        }

        public LogCrash Add(LogCrash crash) => _release is null ? crash : crash with
        {
            Location = crash.Location is { } location ? Locate(location, crash.Stack.FirstOrDefault(e => e.Location == location) is not { IsTrap: true }) : null,
            Stack = [.. crash.Stack.Select(Add)],
            OtherStacks = [.. crash.OtherStacks.Select(s => s with { Entries = [.. s.Entries.Select(Add)] })],
        };

        private LogStackEntry Add(LogStackEntry entry) => entry with { Location = Locate(entry.Location, !entry.IsTrap) };

        private LogLocation Locate(LogLocation location, bool isReturn)
        {
            ulong back = isReturn ? 1UL : 0;
            if (location.Function is not { } function || location.Offset < back)
                return location;
            var key = (location.Module, function, location.Offset, isReturn);
            if (!_known.TryGetValue(key, out SourcePlace? place))
            {
                OpenDebugFile? file = location.Module is { } module ? ModuleFile(module) : _kernel;
                _known[key] = place = file?.Debug is { } debug && DebugFiles.AddressOf(debug, function, location.Offset - back, location.Size) is { } address
                    && debug.TryLocate(address, out SourcePlace found, out _) ? found : null;
            }

            return place is null ? location : location with { Source = place.Source, Inlined = place.Inlined };
        }

        private OpenDebugFile? ModuleFile(string module)
        {
            if (!_modules.TryGetValue(module, out OpenDebugFile? file))
            {
                _modules[module] = file = _files.ModuleWhere(module, _release, debug =>
                    debug.ModuleRelease() is { } release && release != _release ? (null, $"it was built for kernel {release} and not for {_release}")
                    : Sizes(debug, module, _kernel is not null && debug.ModuleRelease() is not null ? 1 : LeastSizes) is { } why ? (null, why)
                    : ("sizes", ""));
            }

            return file;
        }

        private (string? MatchedBy, string WhyNot) IsKernel(DebugFile debug)
        {
            string? theirs = debug.TextAt("linux_banner")?.Trim();
            if (_banner is { } ours && theirs is not null)
                return ours.Trim() == theirs ? ("banner", "") : (null, "its banner (release, compiler, build, date) is another than the log's");
            if (theirs is not null && (theirs.Split(' ') is not [_, _, var release, ..] || release != _release))
                return (null, $"it is of another release than the log's kernel {_release}");
            if (theirs is not null && _build is not null && _build.Split(' ', StringSplitOptions.RemoveEmptyEntries).Except(theirs.Split(' ')).Any())
                return (null, $"it is of another build than the log's kernel ({_build})");
            return Sizes(debug, null, LeastSizes) is { } why ? (null, why) : ("sizes", "");
        }

        /// <summary>Why the functions of the log's stacks are not those of the file; null where all of them are.</summary>
        private string? Sizes(DebugFile debug, string? module, int least)
        {
            var functions = _reports.SelectMany(r => r.Stack.Concat(r.OtherStacks.SelectMany(s => s.Entries)))
                .Where(e => e.Location is { Function: not null, Size: > 0 } && e.Location.Module == module).Select(e => (Function: e.Location.Function!, e.Location.Size)).Distinct().ToList();
            foreach ((string function, ulong size) in functions)
            {
                if (!debug.Symbols.Find(function).Any(s => DebugFiles.Agrees(s, size)))
                    return $"{function}() is 0x{size:x} bytes long in the log and not in it, so it is of another build";
            }

            return functions.Count < least ? $"the log shows the sizes of {functions.Count} functions, too few to tell its build" : null;
        }
    }
}
