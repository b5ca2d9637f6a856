namespace Panacea.Daemon;

/// <summary>Where Panacea keeps things on the host, by the XDG base directory specification.</summary>
public static class StatePaths
{
    /// <summary>Incident records: <c>${XDG_STATE_HOME:-~/.local/state}/panacea/incidents</c>.</summary>
    public static string Incidents => Path.Combine(Base("XDG_STATE_HOME", ".local", "state"), "panacea", "incidents");

    /// <summary>Records of injected faults: <c>${XDG_STATE_HOME:-~/.local/state}/panacea/faults</c>.</summary>
    public static string Faults => Path.Combine(Base("XDG_STATE_HOME", ".local", "state"), "panacea", "faults");

    /// <summary>What was typed at the prompt of <c>panacea inspect</c>: <c>${XDG_STATE_HOME:-~/.local/state}/panacea/inspect_history</c>; null where no home is known.</summary>
    public static string? InspectHistory
    {
        get
        {
            try
            {
                return Path.Combine(Base("XDG_STATE_HOME", ".local", "state"), "panacea", "inspect_history");
            }
            catch (IOException)
            {
                return null;
            }
        }
    }

    /// <summary>Repair images: <c>${XDG_CACHE_HOME:-~/.cache}/panacea/images</c>.</summary>
    public static string Images => Path.Combine(Base("XDG_CACHE_HOME", ".cache"), "panacea", "images");

    private static string Base(string variable, params ReadOnlySpan<string> underHome)
    {
        // The specification: a relative path in the variable is to be ignored.
        if (Environment.GetEnvironmentVariable(variable) is { Length: > 0 } set && Path.IsPathRooted(set))
            return set;
        string home = Environment.GetFolderPath(Environment.SpecialFolder.UserProfile, Environment.SpecialFolderOption.DoNotVerify);

        // A service without a home: its own directory under /var/tmp would be guessable, so ask for one instead of inventing it.
        return home.Length > 0
            ? Path.Combine([home, .. underHome])
            : throw new IOException($"neither HOME nor {variable} is set: set {variable} to a directory of your own");
    }
}
