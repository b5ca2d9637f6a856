using Panacea.Injection;
using Panacea.Kernel;
using Panacea.Repair.Journal;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    /// <summary>Faults that were injected until the first crash.</summary>
    private readonly List<Fault> _untilCrash = [];

    /// <summary>Where they stand: the guard knows the code as it was, and must not take them for damage.</summary>
    private IReadOnlyList<(ulong Start, int Length)> InjectedRanges =>
        _untilCrash.Count == 0 ? [] : [.. _untilCrash.SelectMany(f => f.Changes).Select(c => (Convert.ToUInt64(c.Address, 16), c.After.Length / 2))];

    private void Note(GuestRequest request, GuestAnswer answer)
    {
        if (request is not FaultInjectRequest { UntilCrash: true } || answer.Error is not null)
            return;
        _untilCrash.AddRange(answer.Faults);
        RearmForFaults();
    }

    /// <summary>What is armed while nothing happens: the death points; and where oopses begin, as long as there are faults to be taken out.</summary>
    private ulong[] WhileIdle => _untilCrash.Count > 0 && _armed!.OopsBegin is { } begin ? [.. _armed.Addresses, begin] : _armed!.Addresses;

    private void ArmWhileIdle()
    {
        IHeldGuest stop = _target.Stop();
        try
        {
            _target.ArmBreakpoints(WhileIdle);
        }
        finally
        {
            if (stop.Reason == StopReason.Requested)
                stop.Resume();
        }
    }

    /// <summary>At a crash, before anything is made of it: what was injected until then is taken out, so that it is met as what it stands for, a mistake that has shown once. That is where the oops begins, as in a guest
    /// without a guard, in which it is taken out when the console tells of the crash: in what oopses come by it would crash the oops, and that one's oops, and no death point would be reached. At a hang it is
    /// afterwards, and only where something was done about it (<see cref="AfterHang"/>). On a guest that nobody experiments with there is nothing to do.</summary>
    private void TakeOutFaults()
    {
        foreach (Fault fault in _untilCrash)
        {
            try
            {
                Warn(new FaultRequests(_target, _armed!, _limits).Answer(new FaultRevertRequest(fault.Changes)).Error is { } error ? $"a fault that was to be taken out at the first crash is still there: {error}" : null);
            }
            catch (Exception e) when (e is GuestMemoryException or JournalException or KernelShapeException or GdbException { Kind: GdbFailure.Late })
            {
                Warn($"a fault that was to be taken out at the first crash is still there: {e.Message}");
            }
        }

        _untilCrash.Clear();
    }

    /// <summary>After a hang: what was injected until then is taken out where something was done about it. Else it stays, as in a guest without a guard: without it many a loop would end by itself, and a guard that has done nothing would seem
    /// to have saved the guest.</summary>
    private void AfterHang(StopResult stop)
    {
        if (stop.Applied is not null)
            TakeOutFaults();
        else
            RearmForFaults();
    }

    /// <summary>Who helps a CPU or a task on its way arms the death points alone when he is through.</summary>
    private void RearmForFaults()
    {
        if (_untilCrash.Count == 0 || _target.Stopped is not null)
            return;
        try
        {
            ArmWhileIdle();
        }
        catch (GdbException e) when (e.Kind == GdbFailure.Late)
        {
            Warn($"the fault will be taken out at a death point, not where the oops begins: {e.Message}");
        }
    }
}
