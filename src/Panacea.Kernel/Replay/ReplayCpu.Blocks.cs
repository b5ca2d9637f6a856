using Iced.Intel;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>The kernel's functions that fill and copy blocks of memory (arch/x86/lib/memset_64.S, memcpy_64.S, clear_page_64.S, copy_page_64.S), done at once: which of their variants a kernel has patched in makes no
/// difference to what they do, and their loops would use up a replay's instructions.</summary>
internal sealed partial class ReplayCpu
{
    private const ulong PageBytes = 4096;

    /// <summary>Executes such a function as a whole, up to its return.</summary>
    /// <param name="name">The function that begins at <see cref="Ip"/>.</param>
    /// <param name="end">What became of it.</param>
    /// <returns>False where it is another function.</returns>
    public bool TryBlock(string name, out StepEnd end)
    {
        Bits into = this[Gpr.Rdi], from = this[Gpr.Rsi];
        end = StepEnd.Done;
        if (BlockFunctions.Find(name) is not { } function)
            return false;
        (bool isCopy, Bits length) = (function.Copies, function.IsPage ? Bits.Of(PageBytes) : this[Gpr.Rdx]);
        if (!into.Knows(8) || !length.Knows(8) || (isCopy && !from.Knows(8)))
            end = Missing($"does {name} with what is not known");
        else if (length.Value > MaxStringBytes)
            end = Unknown($"does {name} of {length.Value} bytes");
        else
            end = Block(into.Value, isCopy ? from.Value : null, name.StartsWith("clear", StringComparison.Ordinal) ? Bits.Of(0) : from, length.Value);
        if (end != StepEnd.Done)
            return true;
        ForgetCallerSaved();
        this[Gpr.Rax] = into;
        end = Return();
        return true;
    }

    private StepEnd Block(ulong into, ulong? from, Bits filler, ulong length)
    {
        Moved += length / 8;
        Bits fill = filler.Knows(1) ? Bits.Of(unchecked((filler.Value & 0xff) * 0x0101_0101_0101_0101)) : Bits.None;
        for (ulong done = 0; done < length;)
        {
            int size = length - done >= 8 ? 8 : 1;
            Bits value = fill;
            if (from is { } source && Access(memory.Read(unchecked(source + done), size, out value), unchecked(source + done), "reads") is var read and not StepEnd.Done)
                return read;
            if (Access(memory.Write(unchecked(into + done), size, value, Ip, Repeats), unchecked(into + done), "writes to") is var written and not StepEnd.Done)
                return written;
            done += (ulong)size;
        }

        return StepEnd.Done;
    }

    /// <summary>MOVS and STOS, once or RCX times, upwards: the kernel never sets the direction flag for longer than an instruction.</summary>
    private StepEnd Strings(in Instruction instruction, int size, bool isMove)
    {
        bool repeats = instruction.HasRepPrefix || instruction.HasRepnePrefix;
        Bits count = repeats ? this[Gpr.Rcx] : Bits.Of(1);
        if (!count.Knows(8) || !this[Gpr.Rdi].Knows(8) || (isMove && !this[Gpr.Rsi].Knows(8)))
            return Missing("moves what is not known");
        if (count.Value > MaxStringBytes / (ulong)size)
            return Unknown($"moves {count.Value} times {size} bytes");
        (ulong to, ulong from, ulong length) = (this[Gpr.Rdi].Value, this[Gpr.Rsi].Value, count.Value * (ulong)size);
        Bits filler = isMove ? Bits.None : Read(Register.RAX);

        // Eight bytes at a time come to the same, where they do not overlap those that they come from.
        bool isBlock = isMove ? unchecked(to - from) >= 8 && unchecked(from - to) >= 8 : size == 1;
        StepEnd end = isBlock ? Block(to, isMove ? from : null, filler, length) : OneByOne(to, isMove ? from : null, filler, size, count.Value);
        if (end != StepEnd.Done)
            return end;
        this[Gpr.Rdi] = Bits.Of(unchecked(to + length));
        if (isMove)
            this[Gpr.Rsi] = Bits.Of(unchecked(from + length));
        if (repeats)
            this[Gpr.Rcx] = Bits.Of(0);
        return StepEnd.Done;
    }

    private StepEnd OneByOne(ulong into, ulong? from, Bits filler, int size, ulong count)
    {
        Moved += count;
        for (ulong done = 0; done < count * (ulong)size; done += (ulong)size)
        {
            Bits value = filler;
            if (from is { } source && Access(memory.Read(unchecked(source + done), size, out value), unchecked(source + done), "reads") is var read and not StepEnd.Done)
                return read;
            if (Access(memory.Write(unchecked(into + done), size, value, Ip, Repeats), unchecked(into + done), "writes to") is var written and not StepEnd.Done)
                return written;
        }

        return StepEnd.Done;
    }
}
