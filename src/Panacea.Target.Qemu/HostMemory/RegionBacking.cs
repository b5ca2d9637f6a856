namespace Panacea.Target.Qemu.HostMemory;

/// <summary>How one run of guest memory is reached from this process.</summary>
/// <param name="range">The guest-physical run.</param>
/// <param name="isReadOnly">The guest itself cannot write there.</param>
public abstract class RegionBacking(PhysicalRange range, bool isReadOnly) : IDisposable
{
    /// <summary>The guest-physical run.</summary>
    public PhysicalRange Range { get; } = range;

    /// <summary>ROM: never written by Panacea either.</summary>
    public bool IsReadOnly { get; } = isReadOnly;

    /// <summary>The memory is mapped into this process.</summary>
    public abstract bool IsShared { get; }

    /// <summary>Reads inside the run; <paramref name="offset"/> and length are checked by the caller.</summary>
    internal abstract bool TryRead(ulong offset, Span<byte> destination, out MemoryFaultKind why);

    /// <summary>Writes inside the run; <paramref name="offset"/> and length are checked by the caller.</summary>
    internal abstract bool TryWrite(ulong offset, ReadOnlySpan<byte> bytes, out MemoryFaultKind why);

    /// <summary>Adds the parts of the run that hold data, as guest-physical ranges, ascending; parts left out read as zero.
    /// Finding them allocates no host memory.</summary>
    internal abstract void AddPopulated(List<PhysicalRange> extents);

    /// <inheritdoc/>
    public abstract void Dispose();

    /// <summary>Appends [offset, offset + length) of the run, merged with the extent before where they touch.</summary>
    private protected void Append(List<PhysicalRange> extents, ulong offset, ulong length)
    {
        var start = new PhysicalAddress(Range.Start.Value + offset);
        if (extents.Count > 0 && extents[^1].End == start)
            extents[^1] = new PhysicalRange(extents[^1].Start, extents[^1].Length + length);
        else
            extents.Add(new PhysicalRange(start, length));
    }
}
