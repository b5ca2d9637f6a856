using Iced.Intel;
using Panacea.Kernel.Code;

namespace Panacea.GuestTests.Oracles;

/// <summary>Control flow of text that no boot has patched: until then a test of a CPU feature jumps to code of its own in <c>.altinstr_aux</c>, outside all functions, which tests a bit and jumps back to one of
/// two places (<c>_static_cpu_has</c>, arch/x86/include/asm/cpufeature.h). Boot puts a direct jump or a NOP in its place, so in a guest's text there is none of it.</summary>
/// <param name="inner">What is known besides.</param>
/// <param name="start">Where <c>.altinstr_aux</c> lies.</param>
/// <param name="bytes">Its content.</param>
/// <param name="text">The functions' text.</param>
internal sealed class UnpatchedFlow(IControlFlowHints inner, ulong start, byte[] bytes, ICodeSource text) : IControlFlowHints
{
    /// <inheritdoc/>
    public bool IsNoReturn(ulong target) => inner.IsNoReturn(target);

    /// <inheritdoc/>
    public bool ContinuesAfterTrap(ulong instruction) => inner.ContinuesAfterTrap(instruction);

    /// <inheritdoc/>
    public IReadOnlyList<ulong> ExtraTargets(ulong instruction)
    {
        IReadOnlyList<ulong> known = inner.ExtraTargets(instruction);
        Span<byte> jump = stackalloc byte[5];
        if (!text.TryReadCode(instruction, jump) || jump[0] != 0xe9)
            return known;
        ulong target = unchecked(instruction + 5 + (ulong)(long)BitConverter.ToInt32(jump[1..]));
        return target >= start && target - start < (ulong)bytes.Length ? [.. known, .. WaysBack(target)] : known;
    }

    private IEnumerable<ulong> WaysBack(ulong from)
    {
        int offset = (int)(from - start);
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes, offset, bytes.Length - offset), from);
        Instruction at;
        do
        {
            decoder.Decode(out at);
            if (at.FlowControl is FlowControl.ConditionalBranch or FlowControl.UnconditionalBranch)
                yield return at.NearBranchTarget;
        }
        while (at.FlowControl is FlowControl.Next or FlowControl.ConditionalBranch && !at.IsInvalid);
    }
}
