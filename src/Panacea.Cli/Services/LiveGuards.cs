using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Sessions;

namespace Panacea.Cli.Services;

/// <summary>Guards VMs of running QEMUs.</summary>
internal sealed class LiveGuards : IGuardFactory
{
    /// <inheritdoc/>
    public GuardedVm Create(TargetName target, GuardOptions options) =>
        new(target.Text, sink => new Session(new GuardSession(target.Spec, options, sink) { OpenControl = GuardControl.Serve }));

    private sealed class Session(GuardSession session) : IGuardSession
    {
        public void Run(CancellationToken cancel) => session.Run(cancel);
    }
}
