using System.Text.Json;
using Panacea.Daemon;
using Panacea.Sessions;

namespace Panacea.Cli.Output;

/// <summary>Events as JSON lines: one object a line, flushed.</summary>
internal sealed class JsonEventWriter(TextWriter to) : IEventWriter
{
    /// <inheritdoc/>
    public void Write(SessionEvent sessionEvent)
    {
        to.Write(JsonSerializer.Serialize(sessionEvent, SessionEventJson.Default.SessionEvent));
        to.Write('\n');
        to.Flush();
    }
}
