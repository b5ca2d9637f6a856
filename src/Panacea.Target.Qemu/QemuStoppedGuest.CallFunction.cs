using System.Buffers.Binary;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Target.Qemu;

public sealed partial class QemuStoppedGuest
{
    private static readonly WritableRegister[] Arguments =
        [WritableRegister.Rdi, WritableRegister.Rsi, WritableRegister.Rdx, WritableRegister.Rcx, WritableRegister.R8, WritableRegister.R9];

    /// <summary>Calls a function of the stopped kernel on one vCPU, the others held, and restores the vCPU's integer registers.</summary>
    /// <remarks>
    /// System V calling convention. The return address is the vCPU's own instruction pointer, with a breakpoint on it: the call ends where it began.
    /// Interrupts are left as they are. The function must not sleep and must not need another vCPU.
    /// </remarks>
    /// <param name="vcpu">In kernel mode, on a kernel stack.</param>
    /// <param name="function">Entry address.</param>
    /// <param name="arguments">At most six.</param>
    /// <returns>RAX.</returns>
    /// <exception cref="TargetException">Not in kernel mode, stack unwritable, or the function did not come back; the registers are restored.</exception>
    public ulong CallFunction(int vcpu, VirtualAddress function, params ReadOnlySpan<ulong> arguments)
    {
        if (arguments.Length > Arguments.Length)
            throw new ArgumentException("at most six arguments", nameof(arguments));
        GdbClient gdb = Gdb();
        VcpuRegisters saved = ReadRegisters(vcpu);
        if (saved.IsUserMode || AddressSpaceOf(vcpu) is not { } space)
            throw new TargetException($"vCPU {vcpu} is not in 64-bit kernel mode: no function can be called there");

        // At a function's entry RSP + 8 is a multiple of 16 (System V x86-64 ABI, 3.2.2); the skipped bytes keep clear of the interrupted frame.
        ulong stack = unchecked(((saved.Gpr[Gpr.Rsp] - 256) & ~15UL) - 8);
        Span<byte> returnAddress = stackalloc byte[8];
        BinaryPrimitives.WriteUInt64LittleEndian(returnAddress, saved.Rip);
        if (!space.TryTranslate(new VirtualAddress(stack), out Paging.Translation slot, out MemoryFault fault)
            || !TryWrite(slot.Physical, returnAddress, out fault))
            throw new TargetException($"the stack of vCPU {vcpu} cannot be written: {fault}");

        bool ownBreakpoint = !_target.Armed.Contains(saved.Rip);
        ulong[] aside = ownBreakpoint && _target.Armed.Count == QemuTarget.MaxHardwareBreakpoints ? [_target.Armed[^1]] : [];
        if (ownBreakpoint)
            gdb.ChangeBreakpoints(aside, [saved.Rip]);
        bool ripWritten = _stoppedRipWritten;
        try
        {
            Span<RegisterWrite> writes = stackalloc RegisterWrite[2 + arguments.Length];
            writes[0] = new RegisterWrite(WritableRegister.Rip, function.Value);
            writes[1] = new RegisterWrite(WritableRegister.Rsp, stack);
            for (int i = 0; i < arguments.Length; i++)
                writes[2 + i] = new RegisterWrite(Arguments[i], arguments[i]);
            WriteRegisters(vcpu, writes);
            gdb.Continue(vcpu);
            _ = AwaitStop(gdb, $"the function at {function}");
            VcpuRegisters after = ReadRegisters(vcpu);
            if (after.Rip != saved.Rip || after.Gpr[Gpr.Rsp] != unchecked(stack + 8))
                throw new TargetException($"the function at {function} did not return: vCPU {vcpu} stopped at 0x{after.Rip:x}");
            return after.Gpr[Gpr.Rax];
        }
        finally
        {
            if (!gdb.IsBroken)
            {
                Restore(gdb, vcpu, saved);
                if (ownBreakpoint)
                    gdb.ChangeBreakpoints([saved.Rip], aside);
            }

            _stoppedRipWritten = ripWritten;
        }
    }

    private void Restore(GdbClient gdb, int vcpu, VcpuRegisters saved)
    {
        Span<RegisterWrite> writes = stackalloc RegisterWrite[18];
        for (int i = 0; i < 16; i++)
            writes[i] = new RegisterWrite((WritableRegister)i, saved.Gpr[(Gpr)i]);
        writes[16] = new RegisterWrite(WritableRegister.Rip, saved.Rip);
        writes[17] = new RegisterWrite(WritableRegister.Rflags, saved.Rflags);
        gdb.WriteRegisters(vcpu, writes);
        _registers[vcpu] = saved;
    }
}
