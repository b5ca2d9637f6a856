using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.Target.Qemu;

namespace Panacea.Sessions.Control;

/// <summary>Requests about a guest that nobody guards: attached to for as long as it takes.</summary>
public static class DirectRequests
{
    /// <summary>Answers one.</summary>
    /// <param name="spec">The VM.</param>
    /// <param name="image">Its kernel; stays the caller's.</param>
    /// <param name="request">The request.</param>
    /// <param name="limits">Ceilings.</param>
    /// <exception cref="TargetException">The VM can't be attached to.</exception>
    public static GuestAnswer Answer(QemuTargetSpec spec, RepairImage image, GuestRequest request, TargetLimits limits)
    {
        if (request is FaultInjectRequest { UntilCrash: true })
            return GuestAnswer.Refused("nobody guards this VM, who would take the fault out at its first crash: begin with 'panacea guard', or inject it without --until-crash");
        using QemuTarget target = QemuTarget.Attach(spec);
        var kernel = new ArmedKernel(image, limits);
        return new GuestRequests(target, kernel, limits).Answer(request);
    }
}
