using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Unwind;

/// <summary>Walks kernel stacks by the kernel's own unwind data (arch/x86/kernel/unwind_orc.c describes the rules).</summary>
/// <param name="orc">Unwind rows of the kernel and its modules.</param>
/// <param name="text">What is text.</param>
/// <param name="code">Pristine text; proves that a return address stands behind a call.</param>
/// <param name="space">The kernel's address space.</param>
/// <param name="stacks">What is a stack.</param>
/// <param name="limits">Ceilings.</param>
public sealed class OrcUnwinder(
    IOrcLookup orc, ITextMap text, ICodeSource code, AddressSpace space, IStackMap stacks, TargetLimits limits)
{
    /// <summary>Words of a stack looked at by a scan: the largest kernel stack (KASAN's 64 KiB).</summary>
    private const int MaxScanWords = 8192;

    /// <summary>Candidates of a scan from which a whole unwind is tried.</summary>
    private const int MaxScanUnwinds = 32;

    /// <summary>Stacks that one unwind may pass through: there are no more kinds.</summary>
    private const int MaxStacks = 8;

    /// <summary>Bytes of a frame, and of a function, without unwind rows.</summary>
    private const ulong MaxFrameBytes = 1024, MaxFunctionBytes = 4096;

    /// <summary>The unmapped page below a stack (PAGE_SIZE).</summary>
    private const ulong GuardBytes = 4096;

    private readonly GuestStack _stack = new(space, stacks);

    /// <summary>The row of a call through a bad pointer: nothing was pushed yet but the return address.</summary>
    private static readonly OrcEntry JustCalled = new(OrcRegister.Sp, 8, OrcRegister.Undefined, 0, OrcType.Call, Signal: false);

    /// <summary>Walks the stack.</summary>
    /// <returns>At least the first frame. Never throws on what the guest says.</returns>
    public Backtrace Unwind(in UnwindStart start)
    {
        var frames = new List<StackFrame>(32);
        if (start.Regs is { IsUserMode: true } user)
            return new Backtrace(frames, UnwindEnd.UserMode, user.Ip, "", user);
        Walk walk = Run(start, FrameReliability.Exact, frames);
        if (walk.End is not (UnwindEnd.Complete or UnwindEnd.UserMode or UnwindEnd.TooManyFrames))
            Scan(walk.ScanFrom, frames);
        return new Backtrace(frames, walk.End, walk.Address, walk.Detail, walk.UserRegs);
    }

    private readonly record struct Walk(UnwindEnd End, ulong Address, string Detail, PtRegs? UserRegs, ulong ScanFrom);

    /// <summary>What stands outside one frame.</summary>
    private readonly record struct Outer(ulong Ip, KnownRegisters Registers, bool IsTrap, PtRegs? Regs, ulong? RegsAddress, ulong? Cfa, ulong? ReturnAddressAt);

    private Walk Run(in UnwindStart start, FrameReliability reliability, List<StackFrame> frames)
    {
        var visited = new List<ulong>(4);
        Outer at = new(start.Ip, start.Registers, start.IsTrap, start.Regs, start.RegsAddress, null, null);
        while (true)
        {
            ulong sp = at.Registers[Gpr.Rsp].GetValueOrDefault();
            stacks.TryFind(sp, out StackBounds bounds);

            // The very top of a stack still belongs to it: what lies there has just been popped.
            if (bounds.Kind == StackKind.Unknown && sp != 0)
                stacks.TryFind(sp - 1, out bounds);

            // A stack that is used up: its pointer stands in the guard page below it (arch/x86/kernel/dumpstack.c, get_stack_guard_info).
            if (bounds.Kind == StackKind.Unknown && at.IsTrap)
                stacks.TryFind(unchecked(sp + GuardBytes), out bounds);
            var frame = new StackFrame
            {
                Index = frames.Count,
                Ip = at.Ip,
                Sp = sp,
                Stack = bounds.Kind,
                Reliability = reliability,
                IsTrap = at.IsTrap,
                Registers = at.Registers,
                Regs = at.Regs,
                RegsAddress = at.RegsAddress,
            };
            bool ok = TryStep(frame, out OrcEntry? row, out Outer next, out Walk end);
            frames.Add(frame with { Row = row, Cfa = ok ? next.Cfa : null, ReturnAddressAt = ok ? next.ReturnAddressAt : null });
            if (!ok)
                return end with { ScanFrom = sp };
            ulong nextSp = next.Registers[Gpr.Rsp].GetValueOrDefault();
            if (next.Regs is { IsUserMode: true } user)
                return new Walk(UnwindEnd.UserMode, user.Ip, "", user, 0);
            if (!IsForward(bounds, sp, nextSp, visited))
                return new Walk(UnwindEnd.Loop, nextSp, $"the stack pointer goes from 0x{sp:x} to 0x{nextSp:x}", null, sp);
            if (frames.Count >= limits.MaxStackFrames)
                return new Walk(UnwindEnd.TooManyFrames, next.Ip, "", null, 0);
            at = next;
        }
    }

    private bool IsForward(StackBounds bounds, ulong sp, ulong nextSp, List<ulong> visited)
    {
        if (bounds.Kind == StackKind.Unknown || (bounds.Contains(nextSp, 0) && !(nextSp == bounds.End && stacks.TryFind(nextSp, out _))))
            return nextSp > sp;
        visited.Add(bounds.Start);
        return visited.Count < MaxStacks && (!stacks.TryFind(nextSp, out StackBounds next) || !visited.Contains(next.Start));
    }

    private bool TryStep(StackFrame frame, out OrcEntry? row, out Outer next, out Walk end)
    {
        next = default;
        end = default;
        row = null;
        ulong lookup = frame.Point.LookupAddress;
        if (text.TrampolineName(frame.Ip) is { } trampoline)
        {
            end = new Walk(UnwindEnd.Trampoline, frame.Ip, trampoline, null, 0);
            return false;
        }

        bool found = orc.TryFind(lookup, out OrcEntry entry);
        if (!text.IsText(lookup))
        {
            // A call through a bad pointer, but only where registers say so: a return address must be text.
            found = frame.IsTrap && _stack.TryReadUInt64(frame.Sp, out ulong back) && text.IsText(unchecked(back - 1))
                && CallSites.IsPrecededByCall(code, back);
            entry = JustCalled;
            if (!found)
            {
                end = new Walk(UnwindEnd.NotText, frame.Ip, "no text of the kernel or of a loaded module", null, 0);
                return false;
            }
        }

        if (!found)
        {
            end = new Walk(UnwindEnd.NoUnwindRow, frame.Ip, "", null, 0);
            return false;
        }

        row = entry;
        if (entry.Type == OrcType.Undefined && frame.Index == 0 && TryCaller(frame, out next))
            return true;
        if (entry.Type is OrcType.End or OrcType.Undefined)
        {
            end = new Walk(entry.Type == OrcType.End ? UnwindEnd.Complete : UnwindEnd.Undefined, frame.Ip, "", null, 0);
            return false;
        }

        return TryCfa(frame, entry, out ulong cfa, out end) && TryOuter(frame, entry, cfa, out next, out end);
    }

    /// <summary>
    /// Out of a function that has no unwind rows: to the nearest word above that lies behind a call of it. Such is __crash_kexec() (STACK_FRAME_NON_STANDARD, kernel/crash_core.c, before 6.8
    /// kernel/kexec_core.c), where a CPU that panics saves its registers for a crash kernel. Callee-saved registers but RBP are not followed through it.
    /// </summary>
    private bool TryCaller(StackFrame frame, out Outer next)
    {
        next = default;
        for (ulong at = frame.Sp; at - frame.Sp < MaxFrameBytes; at += 8)
        {
            if (!_stack.TryReadUInt64(at, out ulong back))
                return false;
            if (!text.IsText(unchecked(back - 1)) || !CallSites.TryDirectTarget(code, back, out ulong target) || unchecked(frame.Ip - target) >= MaxFunctionBytes
                || !orc.TryFind(target, out OrcEntry same) || same.Type != OrcType.Undefined)
                continue;
            KnownRegisters registers = default;
            registers[Gpr.Rsp] = at + 8;
            if (frame.Bp is { } bp)
                registers[Gpr.Rbp] = bp;
            next = new Outer(back, registers, IsTrap: false, null, null, at + 8, at);
            return true;
        }

        return false;
    }

    private bool TryCfa(StackFrame frame, in OrcEntry row, out ulong cfa, out Walk end)
    {
        cfa = 0;
        end = default;
        Gpr? register = row.SpRegister switch
        {
            OrcRegister.Sp or OrcRegister.SpIndirect => Gpr.Rsp,
            OrcRegister.Bp or OrcRegister.BpIndirect => Gpr.Rbp,
            OrcRegister.R10 => Gpr.R10,
            OrcRegister.R13 => Gpr.R13,
            OrcRegister.Di => Gpr.Rdi,
            OrcRegister.Dx => Gpr.Rdx,
            _ => null,
        };
        if (register is not { } from || !frame.Registers.TryGet(from, out ulong value))
        {
            end = new Walk(UnwindEnd.RegisterUnknown, frame.Ip, $"the unwind row counts from {row.SpRegister}", null, 0);
            return false;
        }

        ulong offset = unchecked((ulong)(long)row.SpOffset);
        cfa = row.SpRegister == OrcRegister.SpIndirect ? value : unchecked(value + offset);
        if (row.SpRegister is not (OrcRegister.SpIndirect or OrcRegister.BpIndirect))
            return true;
        if (!TryStack(cfa, out ulong stored, out end))
            return false;

        // ORC_REG_SP_INDIRECT adds its offset after the load: a stack switch left the old stack pointer there
        // (commit aafeb14e9da2, "objtool: Support stack-swizzle", 5.12).
        cfa = row.SpRegister == OrcRegister.SpIndirect ? unchecked(stored + offset) : stored;
        return true;
    }

    private bool TryOuter(StackFrame frame, in OrcEntry row, ulong cfa, out Outer next, out Walk end)
    {
        next = default;
        switch (row.Type)
        {
            case OrcType.Call:
                {
                    ulong at = unchecked(cfa - 8);
                    if (!TryStack(at, out ulong back, out end) || !TryBp(frame, row, cfa, out ulong? bp, out end))
                        return false;
                    KnownRegisters registers = default;
                    registers[Gpr.Rsp] = cfa;
                    registers[Gpr.Rbp] = bp;
                    next = new Outer(back, registers, row.Signal, null, null, cfa, at);
                    return true;
                }

            case OrcType.Regs:
                {
                    Span<byte> raw = stackalloc byte[PtRegs.Size];
                    if (!TryStackBytes(cfa, raw, out end))
                        return false;
                    PtRegs regs = PtRegs.Read(raw);
                    next = new Outer(regs.Ip, KnownRegisters.All(regs.Gpr), true, regs, cfa, cfa, null);
                    return true;
                }

            default:
                {
                    // Only ip, cs, flags, sp and ss are there; entry code has not touched the other registers yet, but only RBP is vouched for by the row.
                    Span<byte> raw = stackalloc byte[PtRegs.Size];
                    raw.Clear();
                    if (!TryStackBytes(cfa, raw[PtRegs.IretFrameOffset..], out end) || !TryBp(frame, row, cfa, out ulong? bp, out end))
                        return false;
                    PtRegs part = PtRegs.Read(raw);
                    KnownRegisters registers = default;
                    registers[Gpr.Rsp] = part.Sp;
                    registers[Gpr.Rbp] = bp;
                    next = new Outer(part.Ip, registers, true, part.IsUserMode ? part : null, unchecked(cfa - PtRegs.IretFrameOffset), cfa, null);
                    return true;
                }
        }
    }

    private bool TryBp(StackFrame frame, in OrcEntry row, ulong cfa, out ulong? bp, out Walk end)
    {
        end = default;
        bp = frame.Bp;
        ulong? from = row.BpRegister switch
        {
            OrcRegister.PrevSp => cfa,
            OrcRegister.Bp => frame.Bp,
            _ => null,
        };
        if (row.BpRegister == OrcRegister.Undefined)
            return true;
        bp = null;
        if (from is not { } known)
            return true;
        if (!TryStack(unchecked(known + (ulong)(long)row.BpOffset), out ulong saved, out end))
            return false;
        bp = saved;
        return true;
    }

    private bool TryStack(ulong address, out ulong value, out Walk end)
    {
        Span<byte> raw = stackalloc byte[8];
        bool ok = TryStackBytes(address, raw, out end);
        value = ok ? BitConverter.ToUInt64(raw) : 0;
        return ok;
    }

    private bool TryStackBytes(ulong address, Span<byte> destination, out Walk end)
    {
        end = default;
        if (!stacks.TryFind(address, out StackBounds stack) || !stack.Contains(address, (ulong)destination.Length))
        {
            end = new Walk(UnwindEnd.OffStack, address, "", null, 0);
            return false;
        }

        if (space.TryRead(new VirtualAddress(address), destination, out MemoryFault fault))
            return true;
        end = new Walk(UnwindEnd.Unreadable, address, fault.ToString(), null, 0);
        return false;
    }

    /// <summary>Looks for return addresses from <paramref name="sp"/> up, until a whole unwind to the stack's end starts at one.</summary>
    private void Scan(ulong sp, List<StackFrame> frames)
    {
        ulong at = unchecked(sp + 7) & ~7UL;
        if (!stacks.TryFind(at, out StackBounds stack))
            return;
        var loose = new List<StackFrame>();
        int unwinds = 0;
        for (int i = 0; i < MaxScanWords && stack.Contains(at, 8) && frames.Count + loose.Count < limits.MaxStackFrames; i++, at += 8)
        {
            if (!_stack.TryReadUInt64(at, out ulong word))
                break;
            if (!text.IsText(unchecked(word - 1)) || !CallSites.IsPrecededByCall(code, word))
                continue;
            KnownRegisters registers = default;
            registers[Gpr.Rsp] = at + 8;
            if (unwinds++ < MaxScanUnwinds)
            {
                List<StackFrame> chain = [.. frames, .. loose];
                var from = new UnwindStart { Ip = word, Registers = registers, IsTrap = false };
                if (Run(from, FrameReliability.Guess, chain).End is UnwindEnd.Complete or UnwindEnd.UserMode)
                {
                    frames.AddRange(chain.Skip(frames.Count));
                    return;
                }
            }

            loose.Add(new StackFrame
            {
                Index = frames.Count + loose.Count,
                Ip = word,
                Sp = at + 8,
                Stack = stack.Kind,
                Reliability = FrameReliability.Guess,
                IsTrap = false,
                Registers = registers,
            });
        }

        frames.AddRange(loose);
    }
}
