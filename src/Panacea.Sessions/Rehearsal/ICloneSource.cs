using Panacea.Target.Qemu;

namespace Panacea.Sessions.Rehearsal;

/// <summary>A copy of a guest that stands where the guest stands. Gone when it is disposed of.</summary>
internal interface IGuestClone : IDisposable
{
    /// <summary>The copy, standing.</summary>
    IGuestControl Guest { get; }

    /// <summary>Bytes of memory that it has written, and that are its own.</summary>
    long OwnMemory { get; }
}

/// <summary>Makes copies of one guest.</summary>
internal interface ICloneSource
{
    /// <summary>Copies that may run at once without being in each other's way.</summary>
    int AtOnce { get; }

    /// <summary>Why no copies of the guest can be made; null where they can. Asked while the guest runs.</summary>
    string? WhyNot();

    /// <summary>Notes the state of the guest, which stands; copies that are begun afterwards have it.</summary>
    /// <exception cref="Panacea.Target.TargetException">QEMU can't.</exception>
    IClonesOfAMoment Freeze();
}

/// <summary>The guest at one moment. Copies are good for as long as it stands.</summary>
internal interface IClonesOfAMoment : IDisposable
{
    /// <summary>Starts a copy. May be called from several threads.</summary>
    /// <exception cref="Panacea.Target.TargetException">It did not come up.</exception>
    IGuestClone Start();
}
