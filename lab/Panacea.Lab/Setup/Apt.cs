namespace Panacea.Lab.Setup;

/// <summary>Debian's package tools, with the right to install: as root, or through sudo.</summary>
internal static class Apt
{
    /// <summary>True where no sudo is needed.</summary>
    public static bool IsRoot { get; } = Environment.UserName == "root";

    /// <summary>Runs apt-get without questions.</summary>
    public static Task<HostCommandResult> GetAsync(IReadOnlyList<string> arguments, CancellationToken cancel = default) =>
        HostCommand.RunAsync(IsRoot ? "env" : "sudo", ["DEBIAN_FRONTEND=noninteractive", "apt-get", .. arguments], null, cancel);

    /// <summary>Brings the package lists up to date; where that fails, the ones that are there have to do.</summary>
    /// <returns>True when it worked.</returns>
    public static async Task<bool> UpdateAsync(CancellationToken cancel = default)
    {
        try
        {
            return (await GetAsync(["update", "-qq"], cancel)).ExitCode == 0;
        }
        catch (LabException)
        {
            // Neither root nor sudo.
            return false;
        }
    }
}
