using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Cli.Services;

/// <summary>Asks things of guests of running QEMUs.</summary>
internal sealed class LiveRequests : IGuestRequestService
{
    /// <inheritdoc/>
    public GuestAnswer Ask(TargetName target, GuestRequest request, CancellationToken cancel)
    {
        if (GuardSockets.Find(target.Spec) is { } guard)
            return GuardControl.Ask(guard, request, cancel);
        using GuestKernel kernel = GuestKernel.Open(target, cancel);
        if (GuestLists.Answer(kernel.Image.KernelOver(kernel.Memory), request, TargetLimits.Default) is { } answer)
            return answer;
        if (!kernel.View.IsRunning() && request is not (FaultListRequest or FaultInjectRequest or FaultRevertRequest))
            return GuestAnswer.Wrong("the guest stands still: let it go on first");
        kernel.Close();
        return DirectRequests.Answer(target.Spec, kernel.Image, request, TargetLimits.Default);
    }
}
