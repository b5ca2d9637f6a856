using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>Where a function's bytes are read from: as a rule the pristine text of the repair image, not the crashed guest's own memory.</summary>
public interface ICodeSource
{
    /// <summary>Reads exactly <paramref name="destination"/>.Length bytes of text.</summary>
    /// <param name="address">Guest-virtual address of the first byte.</param>
    /// <param name="destination">Receives the bytes; unspecified after a failure.</param>
    /// <returns>False where any of the bytes is not known text.</returns>
    bool TryReadCode(ulong address, Span<byte> destination);
}

/// <summary>Text held in one buffer.</summary>
/// <param name="start">Guest-virtual address of the first byte.</param>
/// <param name="bytes">The text.</param>
public sealed class CodeBytes(ulong start, ReadOnlyMemory<byte> bytes) : ICodeSource
{
    /// <inheritdoc/>
    public bool TryReadCode(ulong address, Span<byte> destination)
    {
        ulong offset = unchecked(address - start);
        if (offset > (ulong)bytes.Length || (ulong)destination.Length > (ulong)bytes.Length - offset)
            return false;
        bytes.Span.Slice((int)offset, destination.Length).CopyTo(destination);
        return true;
    }
}

/// <summary>Text as the guest's memory holds it now: what the crashed CPU really ran, damaged or not.</summary>
/// <param name="space">The kernel's address space.</param>
public sealed class LiveCode(AddressSpace space) : ICodeSource
{
    /// <inheritdoc/>
    public bool TryReadCode(ulong address, Span<byte> destination) => space.TryRead(new VirtualAddress(address), destination, out _);
}
