using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.Lab.Tour;

/// <summary>How to run a tour.</summary>
public sealed record TourOptions
{
    /// <summary>The line that boots fastest under emulation (about half the time of 6.12): the default.</summary>
    public const string FastestLine = "6.1";

    /// <summary>The executable that guards.</summary>
    public required PanaceaProgram Panacea { get; init; }

    /// <summary>The guest's kernel line, one of <see cref="KernelPackages.Lines"/>.</summary>
    public string Line { get; init; } = FastestLine;

    /// <summary>Install what is missing without asking.</summary>
    public bool AssumeYes { get; init; }

    /// <summary>Shows what is missing and asks whether to install it; null where nobody can be asked.</summary>
    public Func<IReadOnlyList<Prerequisite>, bool>? Ask { get; init; }

    /// <summary>How long a repaired guest is watched before the repair counts as good.</summary>
    public TimeSpan HealthWindow { get; init; } = TimeSpan.FromSeconds(2);

    /// <summary>The guest. At a panic it reboots at once: the kindest case for the reboot in the comparison.</summary>
    internal GuestSpec Guest => new() { Line = Line, Start = ["redis", "counter"], PanicTimeout = -1 };
}
