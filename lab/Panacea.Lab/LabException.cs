namespace Panacea.Lab;

/// <summary>The lab cannot go on: a program that failed, a package that is not to be had, a guest that does not boot. The message is for a person.</summary>
public sealed class LabException : Exception
{
    /// <summary>Says what failed and, where known, what to do.</summary>
    public LabException(string message) : base(message)
    {
    }

    /// <summary>Says what failed, and what it came from.</summary>
    public LabException(string message, Exception inner) : base(message, inner)
    {
    }
}
