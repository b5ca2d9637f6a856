using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Repair;
using Panacea.Target;

namespace Panacea.Injection.Text;

/// <summary>Faults at the entry of a function: the NOP that traceable functions begin with becomes something else. One instruction takes the place of one, so that it does not matter who stands where.</summary>
internal static class DirectFaults
{
    /// <summary>Code that goes into fill of the kernel's text: <c>mov $imm32, %rdi; jmp rel32</c>.</summary>
    private const int StubBytes = 12;

    /// <summary>Spinlocks that nobody takes in a VM that has booted: of the old interrupt controller, which is masked for good (arch/x86/kernel/i8259.c), and of ISA DMA (kernel/dma.c). A function that waits for one has nobody
    /// to wait for.</summary>
    private static readonly string[] UnusedLocks = ["i8259A_lock", "dma_spin_lock"];

    /// <summary>What is written.</summary>
    /// <param name="kernel">The kernel over the memory of the guest.</param>
    /// <param name="type">The kind.</param>
    /// <param name="place">Address of the NOP.</param>
    /// <param name="writes">What is to be written: the NOP's place last.</param>
    /// <param name="whyNot">Why it can't be done.</param>
    public static bool TryWrites(LinuxKernel kernel, FaultType type, ulong place, out IReadOnlyList<PlannedWrite> writes, out string whyNot)
    {
        (writes, whyNot) = ([], "");
        switch (type)
        {
            case FaultType.NullDereference:
                // xor %eax, %eax; mov %eax, (%rax); nop
                writes = [Entry(place, [0x31, 0xc0, 0x89, 0x00, 0x90], "a write through NULL")];
                return true;
            case FaultType.Bug:
                writes = [Entry(place, [0x0f, 0x0b, 0x0f, 0x1f, 0x00], "UD2")];
                return true;
            case FaultType.InfiniteLoop:
                writes = [Entry(place, [0xeb, 0xfe, 0x0f, 0x1f, 0x00], "a jump to itself")];
                return true;
            case FaultType.Return:
                // xor %eax, %eax; ret; nop
                writes = [Entry(place, [0x31, 0xc0, 0xc3, 0x66, 0x90], "a return of 0")];
                return true;
            case FaultType.Panic:
                // The text of the panic is the kernel's name, which has no conversions in it.
                return TryCall(kernel, place, "linux_banner", "panic", [], out writes, out whyNot);
            case FaultType.Deadlock:
                return TryDeadlock(kernel, place, out writes, out whyNot);
            default:
                throw new ArgumentOutOfRangeException(nameof(type), type, "no direct fault");
        }
    }

    private static bool TryDeadlock(LinuxKernel kernel, ulong place, out IReadOnlyList<PlannedWrite> writes, out string whyNot)
    {
        writes = [];
        whyNot = $"this kernel has none of the locks that a fault could take and that nobody needs ({string.Join(", ", UnusedLocks)})";
        if (Array.Find(UnusedLocks, kernel.HasSymbol) is not { } unused || !kernel.Space.TryReadUInt32(new VirtualAddress(kernel.Symbol(unused)), out uint state, out _))
            return false;
        ulong address = kernel.Symbol(unused);
        if (state != 0)
        {
            whyNot = $"{unused} is taken already";
            return false;
        }

        // Its lowest byte says that it is taken (include/asm-generic/qspinlock_types.h, _Q_LOCKED_VAL); the others are of those that wait.
        var taken = new PlannedWrite(new VirtualAddress(address), new byte[] { 1 }, $"{unused} is taken");
        return TryCall(kernel, place, unused, "_raw_spin_lock", [taken], out writes, out whyNot);
    }

    /// <summary>The entry calls a function with one argument, by way of fill between functions.</summary>
    private static bool TryCall(LinuxKernel kernel, ulong place, string argument, string callee, IReadOnlyList<PlannedWrite> before, out IReadOnlyList<PlannedWrite> writes, out string whyNot)
    {
        writes = [];
        whyNot = $"this kernel has no {argument} or no {callee}";
        if (!kernel.Image.TryFindSymbol(argument, out ulong value) || !kernel.Image.TryFindSymbol(callee, out ulong target))
            return false;
        whyNot = "the kernel's text has no room for the code of the fault";
        if (FindRoom(kernel) is not (> 0 and var room))
            return false;
        whyNot = "the function lies too far from the kernel's text";
        byte[] stub = new byte[StubBytes];
        ((ReadOnlySpan<byte>)[0x48, 0xc7, 0xc7]).CopyTo(stub);
        if (unchecked((long)value) is < int.MinValue or > int.MaxValue)
            return false;
        BinaryPrimitives.WriteInt32LittleEndian(stub.AsSpan(3), unchecked((int)value));
        if (!FuseCode.TryJump(room + 7, target, out byte[] jump) || !FuseCode.TryJump(place, room, out byte[] call))
            return false;
        jump.CopyTo(stub, 7);

        // A call has a jump's length and distance.
        call[0] = 0xe8;
        writes = [.. before, new PlannedWrite(new VirtualAddress(room), stub, $"code that calls {callee} with {argument}"), Entry(place, call, "a call of it")];
        return true;
    }

    /// <summary>Fill of the kernel's text for the code; 0 where there is none.</summary>
    private static ulong FindRoom(LinuxKernel kernel)
    {
        // As for fuses (FuseCode.FindRoom), only longer; the end of the text comes first, where fuses come last.
        const int Step = 1 << 16, OthersFill = 4;
        const byte Fill = 0xcc;
        byte[] code = new byte[Step], pristine = new byte[StubBytes + OthersFill];
        for (ulong end = kernel.Image.Meta.TextEnd; end > kernel.Image.Meta.TextStart;)
        {
            ulong start = Math.Max(kernel.Image.Meta.TextStart, end - Math.Min(end, Step));
            Span<byte> now = code.AsSpan(0, (int)(end - start));
            end = start;
            if (!kernel.Space.TryRead(new VirtualAddress(start), now, out _))
                continue;
            for (int i = now.Length - 1, run = 0; i >= 0; i--)
            {
                run = now[i] == Fill ? run + 1 : 0;
                if (run == StubBytes + OthersFill && kernel.Image.TryReadCode(start + (ulong)i, pristine) && pristine.AsSpan().IndexOfAnyExcept(Fill) < 0)
                    return start + (ulong)i + OthersFill;
            }
        }

        return 0;
    }

    private static PlannedWrite Entry(ulong place, byte[] code, string why) => new(new VirtualAddress(place), code, why);
}
