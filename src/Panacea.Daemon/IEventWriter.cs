using Panacea.Sessions;

namespace Panacea.Daemon;

/// <summary>A place where events go: a terminal, a stream of JSON lines, later a metrics endpoint.</summary>
public interface IEventWriter
{
    /// <summary>Writes one event. Called on one thread, in order. What it throws is reported once and ends this writer, not the guarding.</summary>
    void Write(SessionEvent sessionEvent);
}
