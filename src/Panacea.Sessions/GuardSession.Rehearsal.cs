using Panacea.Sessions.Rehearsal;
using Panacea.Target.Qemu;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    private ICloneSource? _clones;

    /// <summary>Makes copies of the guest; null where none can be made. Another one in tests.</summary>
    internal Func<IGuestControl, ICloneSource?> Clones { get; init; } = target => target is QemuTarget qemu ? new QemuCloneSource(qemu) : null;

    /// <summary>Finds out before the first crash whether repairs can be rehearsed, and says where they can't.</summary>
    private void PrepareRehearsals()
    {
        _clones = null;
        if (options.Rehearsal is { Mode: RehearsalMode.Never } or { Plans: 0 })
            return;
        ICloneSource? clones = Clones(_target);
        if (clones?.WhyNot() is { } whyNot)
            Warn($"repairs can't be rehearsed: {whyNot}");
        else
            _clones = clones;
    }

    private Rehearser? NewRehearser() => _clones is null || _armed is null ? null : new Rehearser(options.Rehearsal, _clones, _armed, _limits);
}
