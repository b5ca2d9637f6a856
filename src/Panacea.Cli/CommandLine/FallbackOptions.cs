using System.CommandLine;
using Panacea.Sessions;
using Panacea.Sessions.Policy;

namespace Panacea.Cli.CommandLine;

/// <summary>What guard does with a guest that it does not repair.</summary>
internal static class FallbackOptions
{
    /// <summary>For the help page.</summary>
    public static readonly (string Title, IReadOnlyList<string> Lines) Note = ("Fallback", [
        "leave         the guest goes on to what it would have done alone (panic, kdump, reboot)",
        "reset         the guest is reset, and guarded again when its new kernel is up",
        "keep-stopped  the guest stands where it died until somebody lets it go on ('cont' on its monitor, virsh resume),",
        "              also after guard has ended; a guard that is started then takes the death up again",
    ]);

    /// <summary><c>--fallback</c>.</summary>
    public static Option<FallbackAction?> Then()
    {
        var option = new Option<FallbackAction?>("--fallback")
        {
            Description = "What becomes of a guest that is not repaired: leave, reset or keep-stopped. [default: leave]",
            HelpName = "ACTION",
            CustomParser = result =>
            {
                switch (result.Tokens[0].Value)
                {
                    case "leave":
                        return FallbackAction.Leave;
                    case "reset":
                        return FallbackAction.Reset;
                    case "keep-stopped":
                        return FallbackAction.KeepStopped;
                    default:
                        result.AddError($"--fallback: '{result.Tokens[0].Value}' is nothing that can be done; write leave, reset or keep-stopped");
                        return FallbackAction.Leave;
                }
            },
        };
        option.CompletionSources.Clear();
        option.CompletionSources.Add("leave", "reset", "keep-stopped");
        return option;
    }

    /// <summary>Makes the directory of dumps, wherever it was named.</summary>
    /// <exception cref="IOException">It can't be made.</exception>
    public static GuardOptions Prepare(GuardOptions options) => options with { Fallback = options.Fallback with { DumpDirectory = Directory(options.Fallback.DumpDirectory) } };

    /// <summary>The directory of dumps, made where missing: what is wrong with it is to be said now, not at a crash.</summary>
    /// <exception cref="IOException">It can't be made.</exception>
    private static string? Directory(string? path)
    {
        if (path is null)
            return null;
        string full = Path.GetFullPath(path);
        if (!System.IO.Directory.Exists(full))
            System.IO.Directory.CreateDirectory(full, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        return full;
    }
}
