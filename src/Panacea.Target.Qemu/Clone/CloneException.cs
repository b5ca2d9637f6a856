namespace Panacea.Target.Qemu.Clone;

/// <summary>A VM of which no copy can be made, or a copy that did not come up. Nothing has happened to the VM itself.</summary>
public sealed class CloneException : TargetException
{
    /// <summary>Says why, and what to do, in one sentence for a person.</summary>
    public CloneException(string message) : base(message)
    {
    }

    /// <summary>Says why, and what to do, in one sentence for a person, and what it came from.</summary>
    public CloneException(string message, Exception inner) : base(message, inner)
    {
    }
}
