using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Tests.Code;
using Panacea.Kernel.Types;
using Panacea.Target;
using Panacea.TestKit.Formats;
using static Iced.Intel.AssemblerRegisters;

namespace Panacea.Kernel.Tests;

public static partial class FuzzTargets
{
    private const ulong CodeStart = AssembledFunction.Start;
    private static readonly TypeCatalog CodeTypes = MakeTypes();
    private static readonly AssembledFunction[] Functions = [Straight(), Branches()];

    /// <summary>Functions to damage.</summary>
    internal static byte[][] CodeSeeds => [.. Functions.Select(f => f.Bytes), [.. Functions[1].Bytes, .. Functions[0].Bytes, .. Functions[1].Bytes]];

    /// <summary>Everything that reads machine code, over any bytes.</summary>
    public static void MachineCode(ReadOnlySpan<byte> data)
    {
        byte[] bytes = data.ToArray(), encoded = data.ToArray();
        CodeOperands.Encode(encoded);
        CodeOperands.Decode(encoded);
        Require(encoded.AsSpan().SequenceEqual(bytes));
        var code = new CodeBytes(CodeStart, bytes);
        var function = new FunctionRange(CodeStart, CodeStart + (ulong)bytes.Length, "f");
        var parts = new FunctionParts(function);
        GprFile values = default;
        for (int i = 0; i < 16; i++)
            values[(Gpr)i] = 0xffff_8880_0000_0000 + (ulong)(i * 0x1111);
        KnownRegisters registers = KnownRegisters.All(values);
        IOrcLookup orc = new OneRow(24);
        _ = Nops.TryLengthOfLeadingNop(bytes, out _);
        if (PrologueAnalysis.TryAnalyse(code, parts, orc, null, out FunctionFrames frames, out _))
            _ = frames.TryLocate(CodePoint.Trap(CodeStart + 4), out _, out _);
        int[] places = [0, 3, bytes.Length / 2, bytes.Length - 1, bytes.Length, bytes.Length + 20];
        int sum = bytes.Sum(b => b);
        foreach (int at in (int[])[places[sum % 6], sum % (bytes.Length + 1)])
        {
            ulong address = unchecked(CodeStart + (ulong)at);
            Require(Disassembly.Around(code, function, address, 6, 6).Count <= 13);
            _ = FaultDecoder.Decode(code, address, registers, gsBase: 0xffff_8880_0000_0000, faultAddress: at % 2 == 0 ? 0x18 : null, errorCode: 2);
            _ = ValueOrigins.TryFind(code, parts, address, Gpr.Rax, null, CodeTypes, out _);
            _ = ValueOrigins.FieldOf(code, parts, address, null, CodeTypes);
            _ = CallSites.TryFind(code, parts, CodeStart, CodePoint.Trap(address), null, out _, out _);
            _ = CallSites.IsPrecededByCall(code, address);
            _ = CallSites.TryFindCallBefore(code, parts, address, out _);
            _ = ReturnUse.PointerCheck(code, address);
            _ = ReturnUse.IsIndex(code, address);
            if (EntryRegisters.TryRestore(code, parts, CodePoint.Return(address), registers, Unreadable.Stack, orc, null, out EntryState state, out _))
                Require(state is not null);
        }
    }

    /// <summary>The table of jumps, fixups and warnings.</summary>
    public static void ControlFlow(ReadOnlySpan<byte> data)
    {
        if (!ControlFlowTable.TryOpen(data.ToArray(), CodeStart, out ControlFlowTable table))
            return;
        foreach (ulong address in (ulong[])[0, CodeStart, CodeStart + 0x10, CodeStart - 0x10, CodeStart + 0x7eff_ffff, ulong.MaxValue])
            _ = table.ExtraTargets(address).Count + (table.ContinuesAfterTrap(address) ? 1 : 0) + (table.IsNoReturn(address) ? 1 : 0);
    }

    private static void Require(bool holds)
    {
        if (!holds)
            throw new InvalidOperationException("a promise is broken");
    }

    private static AssembledFunction Straight() => new((a, at) =>
    {
        a.push(rbp);
        a.mov(rbp, rsp);
        a.push(r12);
        a.push(rbx);
        a.sub(rsp, 0x10);
        a.mov(rbx, rdi);
        a.call(CodeStart + 0x1000);
        a.mov(rax, __qword_ptr[rbx + 8]);
        a.mov(rcx, __qword_ptr[rax + rcx * 8 + 0x10]);
        a.@lock.cmpxchg(__qword_ptr[rcx], rdx);
        a.mov(__dword_ptr[rcx], 1);
        a.add(rsp, 0x10);
        a.pop(rbx);
        a.pop(r12);
        a.pop(rbp);
        a.ret();
    });

    private static AssembledFunction Branches() => new((a, at) =>
    {
        a.endbr64();
        a.nop(__dword_ptr[rax + rax]);
        a.test(rdi, rdi);
        a.je(at["out"]);
        at.Mark(a, "loop");
        a.mov(rax, __qword_ptr.gs[0x1234]);
        a.cmp(rax, __qword_ptr[rdi]);
        a.jne(at["loop"]);
        a.call(__qword_ptr[rdi + 0x18]);
        a.rep.movsq();
        a.jmp(rax);
        a.ud2();
        at.Mark(a, "out");
        a.xor(eax, eax);
        a.ret();
    });

    private static TypeCatalog MakeTypes()
    {
        var b = new SyntheticBtf();
        uint s32 = b.Int("int", 4, encoding: 1), pointer = b.Ptr(0);
        uint other = b.Struct("other", 16, new SyntheticMember("buffer", pointer, 0), new SyntheticMember("op", pointer, 64));
        b.Func("f", b.FuncProto(s32, ("o", b.Ptr(other)), ("n", s32)));
        byte[] blob = b.Build();
        Require(TypeCatalog.TryIndex(blob, null, out var types, out var names, out _));
        return TypeCatalog.Open(blob, types, names);
    }

    private sealed class Unreadable : IStackReader
    {
        public static Unreadable Stack { get; } = new();

        public bool TryReadUInt64(ulong address, out ulong value)
        {
            value = address ^ 0x5555;
            return address % 3 != 0;
        }
    }
}
