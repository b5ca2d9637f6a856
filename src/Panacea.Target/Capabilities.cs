namespace Panacea.Target;

/// <summary>A guest can be asked for this only while every vCPU is held: the one object that can write.</summary>
/// <remarks>Registers are read lazily and cached until written or resumed. All members throw <see cref="TargetException"/> when the hypervisor
/// refuses, does not answer in time or is gone.</remarks>
public interface IStoppedGuest
{
    /// <summary>The guest's memory.</summary>
    IGuestMemory Memory { get; }

    /// <summary>Number of vCPUs.</summary>
    int VcpuCount { get; }

    /// <summary>The vCPU that caused the stop (hit a breakpoint), or 0 where it was stopped from outside.</summary>
    int StoppedVcpu { get; }

    /// <summary>The integer registers of one vCPU.</summary>
    VcpuRegisters ReadRegisters(int vcpu);

    /// <summary>Writes one register of one vCPU.</summary>
    void WriteRegister(int vcpu, WritableRegister register, ulong value);

    /// <summary>Writes registers of one vCPU, in one round trip where the hypervisor has such. Where it fails, some may have been written.</summary>
    void WriteRegisters(int vcpu, params ReadOnlySpan<RegisterWrite> writes)
    {
        foreach (RegisterWrite write in writes)
            WriteRegister(vcpu, write.Register, write.Value);
    }

    /// <summary>Writes guest-physical memory; fails as a whole before the first byte is written where any of it is not RAM.</summary>
    /// <returns>True when every byte was written.</returns>
    bool TryWrite(PhysicalAddress address, ReadOnlySpan<byte> bytes, out MemoryFault fault);
}

/// <summary>A hypervisor that refuses, does not answer, or is gone.</summary>
public class TargetException : IOException
{
    /// <summary>Says what failed, in one sentence for a person.</summary>
    public TargetException(string message) : base(message)
    {
    }

    /// <summary>Says what failed, in one sentence for a person, and what it came from.</summary>
    public TargetException(string message, Exception inner) : base(message, inner)
    {
    }
}
