using Panacea.Sessions;

namespace Panacea.Daemon;

/// <summary>The guarding of one VM, from attaching to detaching.</summary>
public interface IGuardSession
{
    /// <summary>Attaches, arms, guards; blocks its thread until cancelled or the guest is gone, and has let go of the guest when it returns or throws.</summary>
    /// <exception cref="Target.TargetException">The guest cannot be guarded, or no longer; the message says what to do.</exception>
    void Run(CancellationToken cancel);
}

/// <summary>Makes the session of one VM; the sink is where it reports.</summary>
/// <param name="sink">Where the session writes.</param>
public delegate IGuardSession OpenSession(ISessionSink sink);

/// <summary>One VM to be guarded.</summary>
/// <param name="Vm">Its name, as the user gave it.</param>
/// <param name="Open">Makes its session; called on the session's own thread.</param>
public sealed record GuardedVm(string Vm, OpenSession Open);
