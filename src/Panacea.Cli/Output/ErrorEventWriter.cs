using Panacea.Daemon;
using Panacea.Sessions;

namespace Panacea.Cli.Output;

/// <summary>Says on standard error what a person must know even when nobody reads the events.</summary>
/// <param name="console">Where.</param>
/// <param name="warnings">Warnings too: where standard output carries JSON.</param>
internal sealed class ErrorEventWriter(CliConsole console, bool warnings) : IEventWriter
{
    /// <inheritdoc/>
    public void Write(SessionEvent sessionEvent)
    {
        if (sessionEvent is ErrorEvent error)
            console.ErrorLine(Named(error.Vm, error.Message));
        else if (warnings && sessionEvent is WarningEvent warning)
            console.Note(Named(warning.Vm, warning.Message));
    }

    private static string Named(string vm, string message) => message.StartsWith(vm, StringComparison.Ordinal) ? message : $"{vm}: {message}";
}
