using Panacea.Formats.Orc;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>Holds a decoded frame against what the kernel's own unwind data says of the same instruction.</summary>
internal static class OrcCheck
{
    /// <summary>Whether <paramref name="state"/> is what <paramref name="row"/> describes: the same CFA, and RBP saved at the same place.</summary>
    public static bool Agrees(in OrcEntry row, FrameState state, ulong at, out Decline why)
    {
        if (row.Type != OrcType.Call)
        {
            why = new Decline(DeclineReason.NotAFunctionFrame, at, $"unwind row of type {row.Type}");
            return false;
        }

        Symbol cfa = Symbol.Frame(FrameBase.Cfa, 0);
        Symbol computed = row.SpRegister switch
        {
            OrcRegister.Sp => state[Gpr.Rsp].Plus(row.SpOffset),
            OrcRegister.Bp => state[Gpr.Rbp].Plus(row.SpOffset),
            OrcRegister.R10 => state[Gpr.R10].Plus(row.SpOffset),
            OrcRegister.R13 => state[Gpr.R13].Plus(row.SpOffset),
            OrcRegister.Dx => state[Gpr.Rdx].Plus(row.SpOffset),
            OrcRegister.Di => state[Gpr.Rdi].Plus(row.SpOffset),
            OrcRegister.BpIndirect => state.Load(state[Gpr.Rbp].Plus(row.SpOffset)),
            OrcRegister.SpIndirect => state.Load(state[Gpr.Rsp]).Plus(row.SpOffset),
            _ => Symbol.Unknown,
        };
        if (computed != cfa)
        {
            why = new Decline(DeclineReason.DepthMismatch, at,
                $"unwind row says {row.SpRegister}{row.SpOffset:+0;-0;+0}, decoding says RSP {Show(state[Gpr.Rsp])}, RBP {Show(state[Gpr.Rbp])}");
            return false;
        }

        Symbol bp = Symbol.Entry(Gpr.Rbp);
        bool agrees = row.BpRegister switch
        {
            OrcRegister.Undefined => state[Gpr.Rbp] == bp,
            OrcRegister.PrevSp => state[Gpr.Rbp] == bp || state.Load(cfa.Plus(row.BpOffset)) == bp,
            OrcRegister.Bp => state.Load(state[Gpr.Rbp].Plus(row.BpOffset)) == bp,
            _ => false,
        };
        why = agrees ? default : new Decline(DeclineReason.FramePointerMismatch, at,
            $"unwind row says RBP is {(row.BpRegister == OrcRegister.Undefined ? "unchanged" : $"at {row.BpRegister}{row.BpOffset:+0;-0;+0}")}");
        return agrees;
    }

    private static string Show(Symbol symbol) => symbol.IsFrame ? $"{symbol.Base}{symbol.Offset:+0;-0;+0}" : symbol.Kind.ToString();
}
