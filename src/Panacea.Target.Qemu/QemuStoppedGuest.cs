using Panacea.Target.Paging;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Target.Qemu;

/// <summary>A QEMU guest while every vCPU is held. Ends with <see cref="Resume"/>; whatever is asked of it afterwards fails.</summary>
public sealed partial class QemuStoppedGuest : IStoppedGuest
{
    private readonly QemuTarget _target;
    private readonly VcpuRegisters?[] _registers;
    private bool _stoppedRipWritten;

    internal QemuStoppedGuest(QemuTarget target, int vcpu, StopReason reason, long runningSinceUs)
    {
        _target = target;
        StoppedVcpu = vcpu;
        Reason = reason;
        RunningSinceUs = runningSinceUs;
        _registers = new VcpuRegisters?[target.Gdb.Threads.Count];
    }

    /// <inheritdoc/>
    public IGuestMemory Memory => _target.Memory;

    /// <inheritdoc/>
    public int VcpuCount => _registers.Length;

    /// <inheritdoc/>
    public int StoppedVcpu { get; }

    /// <summary>Why the guest stands still.</summary>
    public StopReason Reason { get; }

    /// <summary>The guest has been resumed; this object is of no further use.</summary>
    public bool IsResumed => ResumedUs != 0;

    internal long RunningSinceUs { get; }

    internal long ResumedUs { get; set; }

    /// <inheritdoc/>
    public VcpuRegisters ReadRegisters(int vcpu)
    {
        GdbClient gdb = Gdb();
        return _registers[vcpu] ??= gdb.ReadRegisters(vcpu);
    }

    /// <summary>The registers of all vCPUs, read in as few round trips as may be.</summary>
    public IReadOnlyList<VcpuRegisters> ReadAllRegisters()
    {
        GdbClient gdb = Gdb();
        if (Array.Exists(_registers, r => r == null))
            gdb.ReadRegisters(_registers.AsSpan()!);
        return _registers!;
    }

    /// <inheritdoc/>
    public void WriteRegister(int vcpu, WritableRegister register, ulong value) => WriteRegisters(vcpu, new RegisterWrite(register, value));

    /// <inheritdoc/>
    public void WriteRegisters(int vcpu, params ReadOnlySpan<RegisterWrite> writes)
    {
        GdbClient gdb = Gdb();
        _registers[vcpu] = null;
        foreach (RegisterWrite write in writes)
            _stoppedRipWritten |= vcpu == StoppedVcpu && write.Register == WritableRegister.Rip;
        gdb.WriteRegisters(vcpu, writes);
    }

    /// <inheritdoc/>
    /// <remarks>Under KVM the bytes go straight into RAM. Under TCG they go through QEMU, which must drop what it had translated from there.</remarks>
    public bool TryWrite(PhysicalAddress address, ReadOnlySpan<byte> bytes, out MemoryFault fault)
    {
        GdbClient gdb = Gdb();
        if (_target.IsKvm || !gdb.HasPhysicalMode)
            return _target.Memory.TryWrite(address, bytes, out fault);
        if (!_target.Memory.IsWritable(address, (ulong)bytes.Length, out fault))
            return false;
        gdb.WritePhysical(address.Value, bytes);
        return true;
    }

    /// <summary>The address space that a vCPU is in, from its CR3, CR4 and EFER; null where it is not in 64-bit long mode with paging.</summary>
    public AddressSpace? AddressSpaceOf(int vcpu)
    {
        const ulong la57 = 1 << 12, frame = 0x000f_ffff_ffff_f000;
        VcpuRegisters registers = ReadRegisters(vcpu);
        return registers.IsLongMode
            ? new AddressSpace(Memory, new PhysicalAddress(registers.Cr3 & frame), (registers.Cr4 & la57) != 0 ? PagingMode.FiveLevel : PagingMode.FourLevel)
            : null;
    }

    /// <summary>The first vCPU whose instruction pointer is one of <paramref name="addresses"/>, or -1.</summary>
    public int FindVcpuAt(params ReadOnlySpan<ulong> addresses)
    {
        foreach (VcpuRegisters registers in ReadAllRegisters())
        {
            if (addresses.Contains(registers.Rip))
                return registers.Vcpu;
        }

        return -1;
    }

    /// <summary>Lets all vCPUs run. Where the vCPU that hit a breakpoint still stands at it, it is stepped over first.</summary>
    /// <remarks>Another vCPU that stands at an armed breakpoint is not stepped over: it has yet to report it.</remarks>
    public void Resume()
    {
        GdbClient gdb = Gdb();
        if (Reason == StopReason.Breakpoint && !_stoppedRipWritten && StandsAtBreakpoint())
            StepOver(StoppedVcpu);
        _target.OnResuming(this);
        gdb.Continue();
    }

    /// <inheritdoc/>
    public void ResumeOnly(int vcpu)
    {
        GdbClient gdb = Gdb();
        if (vcpu == StoppedVcpu && Reason == StopReason.Breakpoint && !_stoppedRipWritten && StandsAtBreakpoint())
            StepOver(vcpu);
        _target.OnResuming(this);
        gdb.Continue(vcpu);
    }

    /// <summary>Lets one vCPU execute the instruction that it stands at, without hitting a breakpoint there; the others stay held.</summary>
    public void StepOver(int vcpu)
    {
        GdbClient gdb = Gdb();
        ulong at = ReadRegisters(vcpu).Rip;
        ulong[] here = [.. _target.Armed.Where(a => a == at)];
        gdb.ChangeBreakpoints(here, []);
        try
        {
            // Another vCPU's stop that was already under way can end the step before the instruction; one that jumps to itself ends it likewise.
            const int attempts = 4;
            for (int i = 0; i < attempts && ReadRegisters(vcpu).Rip == at; i++)
            {
                _registers[vcpu] = null;
                gdb.Step(vcpu);
                AwaitStop(gdb, "the vCPU to step");
            }
        }
        finally
        {
            if (!gdb.IsBroken)
                gdb.ChangeBreakpoints([], here);
        }
    }

    internal GdbClient Gdb() =>
        IsResumed || _target.Stopped != this ? throw new TargetException("the guest has been resumed") : _target.Gdb;

    private bool StandsAtBreakpoint() => _target.Armed.Count > 0 && _target.Armed.Contains(ReadRegisters(StoppedVcpu).Rip);

    private static StopReply AwaitStop(GdbClient gdb, string what)
    {
        if (gdb.WaitForStop(-1, gdb.CommandTimeout, out StopReply reply) == GdbWait.Stopped)
            return reply.Kind == StopKind.Signal ? reply : throw new GdbException("QEMU is ending", GdbFailure.Closed);

        // It must stand still again before anything else may be asked of it.
        gdb.Interrupt();
        if (gdb.WaitForStop(-1, gdb.CommandTimeout, out reply) != GdbWait.Stopped)
            throw new GdbException("QEMU did not stop the guest in time", GdbFailure.Timeout);
        throw new TargetException($"timed out waiting for {what}");
    }
}
