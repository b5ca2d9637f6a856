using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>The ways into the kernel: trap gates (arch/x86/kernel/idt.c) and system call tables (arch/x86/entry/syscall_64.c).</summary>
public sealed class GateValidator : IValidator
{
    /// <summary>__KERNEL_CS.</summary>
    private const ushort KernelCode = 0x10;

    /// <summary>More than any table has.</summary>
    private const ulong MaxCalls = 2048;

    private static readonly string[] Tables = ["sys_call_table", "ia32_sys_call_table", "x32_sys_call_table"];

    /// <inheritdoc/>
    public string Name => "gates";

    /// <inheritdoc/>
    public string Description => "trap gates and system call tables lead to the beginnings of kernel functions";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        var notes = new CheckNotes(context, "gates");
        notes.Guard("trap gates", () => TrapGates(context, notes));
        foreach (string table in Tables)
        {
            if (context.Kernel.HasSymbol(table))
                notes.Guard(table, () => Calls(context, notes, table));
        }

        return notes.Done();
    }

    private static void TrapGates(CheckContext context, CheckNotes notes)
    {
        LinuxKernel kernel = context.Kernel;
        ulong at = kernel.Image.Meta.TrapTableAddress;
        if (at == 0 && !kernel.Image.TryFindSymbol("idt_table", out at))
        {
            notes.Missing("trap gates: where they lie is not known");
            return;
        }

        byte[] raw = new byte[TrapGate.TableSize];
        kernel.Space.Read(new VirtualAddress(at), raw, "trap table");
        RepairImage earlier = context.Pristine ?? kernel.Image;
        for (int vector = 0; vector < TrapGate.Count; vector++)
        {
            TrapGate gate = TrapGate.Of(raw, vector);
            if (!gate.IsPresent)
                continue;
            notes.Count("trap gates");
            ulong to = gate.Target;
            if (!context.Text.IsKernel(to) && !IsEarly(kernel, vector, to))
                notes.Found("trap", Confidence.High, $"the gate of trap {vector} leads to 0x{to:x}, which is no kernel text", $"trap table 0x{at:x}");
            if (gate.Selector != KernelCode || gate.Type is not (0xe or 0xf))
                notes.Found("trap", Confidence.High, $"the gate of trap {vector} has selector 0x{gate.Selector:x} and type {gate.Type}", $"trap table 0x{at:x}");

            // User code may raise int3, into and the old system call (SYSG in idt.c).
            if (gate.Level != 0 && vector is not (3 or 4 or 0x80))
                notes.Found("trap-level", Confidence.High, $"the gate of trap {vector} lets user code in (DPL {gate.Level})", $"trap table 0x{at:x}");
            ReadOnlySpan<byte> before = earlier.TrapTable.Span;
            if (earlier.Meta.TextBase == kernel.Image.Meta.TextBase && before.Length == raw.Length && !TrapGate.Raw(before, vector).SequenceEqual(TrapGate.Raw(raw, vector)))
                notes.Found("trap-changed", Confidence.Medium, $"the gate of trap {vector} is another one than when the image was made", $"leads to 0x{to:x}");
        }
    }

    /// <summary>Vectors that the CPU keeps for itself lead where all did during boot, into code that is freed by now: early_idt_handler_array, 9 bytes a handler, or 13 with ENDBR64
    /// (arch/x86/include/asm/segment.h).</summary>
    private static bool IsEarly(LinuxKernel kernel, int vector, ulong to) => vector is > 0 and < 32 && kernel.Image.TryFindSymbol("early_idt_handler_array", out ulong handlers)
        && unchecked(to - handlers) is var offset && (offset == (ulong)vector * 9 || offset == (ulong)vector * 13);

    private static void Calls(CheckContext context, CheckNotes notes, string table)
    {
        LinuxKernel kernel = context.Kernel;
        ulong at = kernel.Symbol(table), size = kernel.Image.Symbolize(at)?.Size ?? 0;
        if (size is 0 || size / 8 > MaxCalls)
        {
            notes.Missing($"{table}: its size is not known");
            return;
        }

        byte[] raw = new byte[(int)(size & ~7UL)];
        kernel.Space.Read(new VirtualAddress(at), raw, table);

        // Behind the last entry there may be room up to the next symbol.
        int count = raw.Length / 8;
        while (count > 0 && BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan((count - 1) * 8)) == 0)
            count--;
        for (int call = 0; call < count; call++)
        {
            notes.Count("system calls");
            ulong to = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(call * 8));
            if (!context.Text.IsKernel(to))
                notes.Found("syscall", Confidence.High, $"entry {call} of {table} leads to 0x{to:x}, which is no kernel text", $"{table} 0x{at:x}");
            else if (kernel.Image.Symbolize(to) is not { Offset: 0 })
                notes.Found("syscall", Confidence.High, $"entry {call} of {table} leads to 0x{to:x}, where no function begins", $"{table} 0x{at:x}");
        }
    }
}
