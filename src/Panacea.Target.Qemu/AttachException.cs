namespace Panacea.Target.Qemu;

/// <summary>Why a VM cannot be attached to.</summary>
public enum AttachFailure
{
    /// <summary>The target is written wrongly.</summary>
    BadTarget,

    /// <summary>No such process.</summary>
    NoSuchProcess,

    /// <summary>The process is no QEMU, or has no QMP socket.</summary>
    NoQmp,

    /// <summary>The QMP socket cannot be reached, or another client holds it.</summary>
    QmpUnreachable,

    /// <summary>Another guard holds this VM.</summary>
    AlreadyGuarded,

    /// <summary>The guest's memory is encrypted.</summary>
    Encrypted,

    /// <summary>The guest is not x86-64.</summary>
    NotX86,

    /// <summary>QEMU's process cannot be looked into.</summary>
    MemoryUnreachable,

    /// <summary>The gdb stub cannot be opened, or another debugger uses it.</summary>
    StubUnreachable,
}

/// <summary>A VM that cannot be attached to. Nothing was changed: what attaching had begun is undone.</summary>
public sealed class AttachException : TargetException
{
    /// <summary>Says why, in one sentence for a person.</summary>
    public AttachException(AttachFailure reason, string message) : base(message) => Reason = reason;

    /// <summary>Says why, in one sentence for a person, and what it came from.</summary>
    public AttachException(AttachFailure reason, string message, Exception inner) : base(message, inner) => Reason = reason;

    /// <summary>The reason, for programs.</summary>
    public AttachFailure Reason { get; }
}
