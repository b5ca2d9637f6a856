namespace Panacea.Target;

/// <summary>A guest-physical address: an index into the guest's RAM as its memory controller sees it.</summary>
public readonly record struct PhysicalAddress(ulong Value) : IComparable<PhysicalAddress>
{
    /// <inheritdoc/>
    public int CompareTo(PhysicalAddress other) => Value.CompareTo(other.Value);

    /// <summary>The address <paramref name="bytes"/> further on; wraps like the hardware does.</summary>
    public PhysicalAddress Plus(ulong bytes) => new(unchecked(Value + bytes));

    /// <inheritdoc/>
    public override string ToString() => $"phys:0x{Value:x}";
}

/// <summary>A guest-virtual (linear) address; it means something only together with an <see cref="AddressSpace"/>.</summary>
public readonly record struct VirtualAddress(ulong Value) : IComparable<VirtualAddress>
{
    /// <inheritdoc/>
    public int CompareTo(VirtualAddress other) => Value.CompareTo(other.Value);

    /// <summary>The address <paramref name="bytes"/> further on; wraps like the hardware does.</summary>
    public VirtualAddress Plus(ulong bytes) => new(unchecked(Value + bytes));

    /// <summary>The address <paramref name="bytes"/> before; wraps like the hardware does.</summary>
    public VirtualAddress Minus(ulong bytes) => new(unchecked(Value - bytes));

    /// <summary>True in the upper (kernel) half of a canonical x86-64 address space.</summary>
    public bool IsKernelHalf => Value >= 0xff00_0000_0000_0000;

    /// <inheritdoc/>
    public override string ToString() => $"0x{Value:x16}";
}

/// <summary>A run of guest-physical addresses backed by RAM: [Start, Start + Length).</summary>
/// <param name="Start">First guest-physical address.</param>
/// <param name="Length">Bytes; never zero.</param>
public readonly record struct PhysicalRange(PhysicalAddress Start, ulong Length)
{
    /// <summary>First address past the range.</summary>
    public PhysicalAddress End => new(checked(Start.Value + Length));
}
