namespace Panacea.Cli.Services.Inspection;

/// <summary>The machine and its kernel. What could not be read is null.</summary>
internal sealed record SystemAnswer
{
    /// <summary>What was looked at.</summary>
    public required string Source { get; init; }

    /// <summary>CPUs that there are; with those that are offline.</summary>
    public int? Cpus { get; init; }

    /// <summary>CPUs that are offline.</summary>
    public int? CpusOffline { get; init; }

    /// <summary>The kernel's own time.</summary>
    public DateTimeOffset? Date { get; init; }

    /// <summary>Milliseconds since boot, without suspended time.</summary>
    public long? UptimeMs { get; init; }

    /// <summary>Load of 1, 5 and 15 minutes; empty where unknown.</summary>
    public IReadOnlyList<double> LoadAverage { get; init; } = [];

    /// <summary>Threads, the idle tasks among them.</summary>
    public int? Tasks { get; init; }

    /// <summary>Host name.</summary>
    public string? Nodename { get; init; }

    /// <summary>uname -r.</summary>
    public string? Release { get; init; }

    /// <summary>uname -v.</summary>
    public string? Version { get; init; }

    /// <summary>uname -m.</summary>
    public string? Machine { get; init; }

    /// <summary>Speed of the processor in MHz, as the kernel has measured it.</summary>
    public long? Mhz { get; init; }

    /// <summary>Bytes of memory that exist.</summary>
    public long? MemoryBytes { get; init; }

    /// <summary>What its log says that it died of; null where it says nothing of the kind.</summary>
    public string? Panic { get; init; }

    /// <summary>Taint letters; empty where it is not tainted.</summary>
    public string? Taint { get; init; }

    /// <summary>Build id of the kernel, hexadecimal.</summary>
    public string? BuildId { get; init; }

    /// <summary>The kernel's command line.</summary>
    public string? CommandLine { get; init; }

    /// <summary>Model of the processor.</summary>
    public string? CpuModel { get; init; }

    /// <summary>The hypervisor that the kernel found.</summary>
    public string? Hypervisor { get; init; }
}
