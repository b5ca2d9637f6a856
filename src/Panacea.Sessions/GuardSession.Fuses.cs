using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Repair;
using Panacea.Sessions.Control;
using Panacea.Sessions.Policy;
using Panacea.Target;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    // Fuses that this guard has set, by crashes or on request, and that nobody has taken away since.
    private readonly List<Fuse> _fuses = [];

    /// <summary>A function that has been made to return often enough gets a fuse with the repair at hand, and one of an interrupt with the last that it would get. Only functions of modules do: of the
    /// kernel's own, others are called by everything.</summary>
    private RepairPlan WithFuse(RepairPlan plan, CrashEvidence evidence)
    {
        if (options.Fuse.After == 0 || plan is not { Kind: RepairKind.ErrorReturn or RepairKind.Unwind, Returned: { Module: not null } returned })
            return plan;
        int count = Incidents.ReturnsOf(returned) + 1;
        if (count < options.Fuse.After && !Incidents.IsLastTry(plan.Kind, evidence))
            return plan;
        string times = $"crashed {count} time{(count == 1 ? "" : "s")} within {Durations.Format(options.RepairLimitWindow)}";
        int value = unchecked((int)(returned.Value ?? 0));
        if (!FusePlan.TrySet(evidence.Kernel.Over(_target.Memory), returned.Function, returned.Module, returned.Entry, value, out Fuse fuse, out IReadOnlyList<PlannedWrite> writes, out string whyNot))
            return plan with { Risks = [.. plan.Risks, $"{returned.Function} has {times}, and it can't have a fuse: {whyNot}"] };
        string returns = returned.Value is null ? "returns" : $"returns {Fuses.Shown(value)}";
        return plan with
        {
            Fuse = fuse,
            Writes = [.. plan.Writes, .. writes],
            Explanation = $"{plan.Explanation}; {fuse.Name} has {times}, so from now on it {returns} at once (fuse)",
            Lost = [.. plan.Lost, $"what {fuse.Name} does, until its fuse is cleared"],
        };
    }

    /// <summary>A fuse that was set at a crash, told after it.</summary>
    private void Note(StopResult stop, string id)
    {
        if (stop.Fuse is not { } fuse)
            return;
        _fuses.Add(fuse);
        Incidents.ForgetReturnsOf(fuse.Entry);
        sink.OnEvent(new FuseEvent(_vm, id, FuseChange.Set, FuseLine.Of(fuse)));
    }

    private void Note(GuestRequests done)
    {
        foreach (Fuse fuse in done.Set)
        {
            _fuses.Add(fuse);
            sink.OnEvent(new FuseEvent(_vm, null, FuseChange.Set, FuseLine.Of(fuse)));
        }

        foreach (Fuse fuse in done.Cleared)
        {
            _fuses.RemoveAll(f => f.Jump == fuse.Jump);
            sink.OnEvent(new FuseEvent(_vm, null, FuseChange.Cleared, FuseLine.Of(fuse)));
        }
    }

    /// <summary>Before the guard lets go of the guest: fuses that it has set go with it, where its policy says so. A module may be gone by now, and its fuses with it.</summary>
    private void ClearFuses()
    {
        if (!options.Fuse.ClearOnDetach || _fuses.Count == 0 || _isLost || _target.IsGone || _armed is not { } armed)
            return;
        if (_target.Stopped is not null)
        {
            Warn("the guest stands, and the fuses that this guard has set stay in it: clear them with 'panacea fuse clear' when it runs");
            return;
        }

        try
        {
            LinuxKernel live = armed.Image.KernelOver(_target.Memory);
            Fuse[] there = [.. _fuses.Where(f => Fuses.Of(live, f.Entry)?.Stub == f.Stub)];
            if (there.Length == 0)
                return;
            var requests = new GuestRequests(_target, armed, _limits);
            if (requests.Clear(there, out _) is { } failed)
                Warn($"the fuses that this guard has set could not be cleared: {failed}");
            Note(requests);
        }
        catch (Exception e) when (e is TargetException or GuestMemoryException or Repair.Journal.JournalException)
        {
            Warn($"the fuses that this guard has set could not be cleared: {e.Message}");
        }
    }
}
