using Panacea.Target;

namespace Panacea.TestKit.Linux;

/// <summary>How a synthetic kernel dies.</summary>
public sealed record CrashSpec
{
    /// <summary>The function that dies; <see cref="Chain"/> leads to it.</summary>
    public string Function { get; init; } = "ct_int";

    /// <summary>Functions called on from <see cref="Function"/> on the way to the instruction that traps.</summary>
    public string[] Inner { get; init; } = [];

    /// <summary>Functions from the bottom of the stack to the caller of <see cref="Function"/>.</summary>
    public string[] Chain { get; init; } = ["do_syscall_64", "ksys_write", "vfs_write", "ct_outer"];

    /// <summary>Code at the bottom of the stack: <c>entry_SYSCALL_64</c> leads to user mode, <c>ret_from_fork</c> ends a kernel thread's.</summary>
    public string Bottom { get; init; } = "entry_SYSCALL_64";

    /// <summary>The trap's entry code; null where panic() was called.</summary>
    public string? Entry { get; init; } = "asm_exc_page_fault";

    /// <summary>A double fault because a stack's guard page was hit.</summary>
    public bool GuardHit { get; init; }

    /// <summary>The function calls this address, where there is no code.</summary>
    public ulong? BadCall { get; init; }

    /// <summary>Argument of panic().</summary>
    public string PanicFormat { get; init; } = "Attempted to kill the %s!";

    /// <summary>RFLAGS as of the crash.</summary>
    public ulong Flags { get; init; } = 0x1_0246;

    /// <summary>Preempt count.</summary>
    public uint Preempt { get; init; }

    /// <summary>CPU.</summary>
    public int Cpu { get; init; }

    /// <summary>Registers as of the crash.</summary>
    public IReadOnlyDictionary<Gpr, ulong> Registers { get; init; } = new Dictionary<Gpr, ulong>();

    /// <summary>Prepares the machine before it dies, and gives further registers as of the crash.</summary>
    public Func<SyntheticKernel, SyntheticTask, IReadOnlyDictionary<Gpr, ulong>>? Prepare { get; init; }

    /// <summary>A module whose functions are among those named.</summary>
    public SyntheticModule? Module { get; init; }
}

/// <summary>A synthetic kernel that stands at a death point.</summary>
/// <param name="Vcpu">Registers of the vCPU that stands there.</param>
/// <param name="RegsAddress">The trap's pt_regs, 0 at panic().</param>
/// <param name="FaultSp">Stack pointer as of the crash.</param>
/// <param name="ReturnSp">Stack pointer in the caller after the dying function has returned.</param>
/// <param name="ReturnAddress">Where the dying function would return to.</param>
/// <param name="CallerRbx">RBX of that caller.</param>
public sealed record SyntheticCrash(VcpuRegisters Vcpu, ulong RegsAddress, ulong FaultSp, ulong ReturnSp, ulong ReturnAddress, ulong CallerRbx);

public sealed partial class SyntheticKernel
{
    private static readonly Gpr[] PtRegsOrder =
        [Gpr.R15, Gpr.R14, Gpr.R13, Gpr.R12, Gpr.Rbp, Gpr.Rbx, Gpr.R11, Gpr.R10, Gpr.R9, Gpr.R8, Gpr.Rax, Gpr.Rcx, Gpr.Rdx, Gpr.Rsi, Gpr.Rdi];

    /// <summary>Registers of a vCPU that runs a CPU in kernel mode.</summary>
    public VcpuRegisters Vcpu(int cpu, ulong rip, GprFile gpr, ulong flags = 0x246) => new()
    {
        Vcpu = cpu, Gpr = gpr, Rip = rip, Rflags = flags, Cs = 0x10, FsBase = 0, GsBase = PerCpuBase(cpu), KernelGsBase = 0,
        Cr0 = ControlRegisters.Cr0, Cr2 = 0, Cr3 = ControlRegisters.Cr3, Cr4 = ControlRegisters.Cr4, Efer = ControlRegisters.Efer,
    };

    /// <summary>Lets a task die: writes its stack as the calls, the trap and its handlers would have, and gives the vCPU as it stands at the death point.</summary>
    public SyntheticCrash Crash(CrashSpec spec, SyntheticTask? task = null)
    {
        SyntheticTask dying = task ?? Victim;

        // A double fault and a breakpoint are entered like an NMI: NMI_OFFSET + HARDIRQ_OFFSET.
        Run(dying, spec.Cpu, spec.Preempt + (spec.Entry is "asm_exc_double_fault" or "asm_exc_int3" ? 0x11_0000u : 0));
        var stack = new StackWriter(this, dying.StackTop);
        GprFile user = default;
        user[Gpr.Rsp] = 0x7ffd_0000_0f00;
        user[Gpr.Rbx] = 0xb05;
        stack.PtRegs(user, 0x5555_0000_1234, 0x33, 0x202, 0x2b, 1);
        string[] all = [.. spec.Chain, spec.Function, .. spec.Inner];
        ulong At(string place) => spec.Module is { } m && m.Text.Has(place.Split(':')[0]) ? m.Text[place] : Text[place];
        int Depth(string function, ulong address) => spec.Module is { } m && m.Text.Has(function) ? m.Text.DepthAt(address - 1) : Text.DepthAt(address - 1);

        ulong rbx = user[Gpr.Rbx], returnSp = 0, returnAddress = 0, callerRbx = 0, ip = 0;
        string caller = spec.Bottom;
        for (int i = 0; i < all.Length; i++)
        {
            // A caller that calls through a pointer has no place of that name: any address in its frame serves.
            ulong back = TryAt($"{caller}:back:{all[i]}", At) ?? At(caller) + 6;
            if (all[i] == spec.Function)
                (returnSp, returnAddress, callerRbx) = (stack.Sp, back, rbx);
            stack.Push(back);
            bool last = i == all.Length - 1;
            string callee = last ? "" : all[i + 1];
            ulong stands = !last ? TryAt($"{all[i]}:back:{callee}", At) ?? At(all[i]) + 6
                : spec.BadCall is not null ? At($"{all[i]}:back:0")
                : TryAt($"{all[i]}:fault", At) ?? At($"{all[i]}:back:{(spec.Entry is null ? "panic" : "0")}");
            for (int words = (Depth(all[i], stands) - 8) / 8; words > 0; words--)
            {
                stack.Push(rbx);
                rbx = 0xb000 + (ulong)i;
            }

            ip = stands;
            caller = all[i];
        }

        GprFile gpr = default;
        gpr[Gpr.R12] = 0xc12;
        gpr[Gpr.R13] = 0xc13;
        gpr[Gpr.R14] = 0xc14;
        gpr[Gpr.R15] = 0xc15;
        gpr[Gpr.Rbp] = 0xc0b;
        gpr[Gpr.Rbx] = rbx;
        foreach ((Gpr register, ulong value) in spec.Registers.Concat(spec.Prepare?.Invoke(this, dying) ?? new Dictionary<Gpr, ulong>()))
            gpr[register] = value;
        if (spec.BadCall is { } bad)
        {
            stack.Push(ip);
            ip = bad;
        }

        if (spec.Entry is null)
        {
            string point = Options.Vpanic ? "vpanic" : "panic";
            stack.Push(ip);
            if (Options.Vpanic)
            {
                stack.Push(rbx);
                stack.Push(Text["panic:back:vpanic"]);
            }

            ulong format = Allocate(256);
            WriteText(format, spec.PanicFormat);
            gpr[Gpr.Rdi] = format;
            gpr[Gpr.Rsp] = stack.Sp;
            return new SyntheticCrash(Vcpu(spec.Cpu, Text[point], gpr, spec.Flags), 0, stack.Sp, returnSp, returnAddress, callerRbx);
        }

        ulong faultSp = stack.Sp;
        gpr[Gpr.Rsp] = faultSp;
        if (spec.Entry == "asm_exc_double_fault")
            stack = new StackWriter(this, ReadU64(PerCpu("cea_exception_stacks", spec.Cpu)) + Types.Offset("cea_exception_stacks.DF_stack") + 8192);
        stack.Align();
        ulong regs = stack.PtRegs(gpr, spec.Entry == "asm_exc_int3" ? ip + 1 : ip, 0x10, spec.Flags, 0x18, 2);
        string handler = spec.Entry;
        foreach (string next in (string[])(spec.Entry switch
        {
            "asm_exc_page_fault" => ["exc_page_fault", "page_fault_oops", "oops_end"],
            "asm_exc_double_fault" => spec.GuardHit ? ["exc_double_fault", "handle_stack_overflow", "die", "oops_end"] : ["exc_double_fault", "die", "oops_end"],
            _ => ["exc_other", "die", "oops_end"],
        }))
        {
            stack.Push(Text[$"{handler}:back:{next}"]);
            if (next != "oops_end")
                stack.Push(0xdead);
            handler = next;
        }

        GprFile at = gpr;
        at[Gpr.Rsp] = stack.Sp;
        at[Gpr.Rdi] = 0;
        at[Gpr.Rsi] = regs;
        at[Gpr.Rdx] = 9;
        return new SyntheticCrash(Vcpu(spec.Cpu, Text["oops_end"], at, 0x46), regs, faultSp, returnSp, returnAddress, callerRbx);
    }

    private static ulong? TryAt(string place, Func<string, ulong> at)
    {
        try
        {
            return at(place);
        }
        catch (KeyNotFoundException)
        {
            return null;
        }
    }

    private sealed class StackWriter(SyntheticKernel kernel, ulong top)
    {
        public ulong Sp { get; private set; } = top;

        public void Push(ulong value)
        {
            Sp -= 8;
            kernel.WriteU64(Sp, value);
        }

        public void Align() => Sp &= ~15UL;

        public ulong PtRegs(GprFile gpr, ulong ip, ulong cs, ulong flags, ulong ss, ulong origAx)
        {
            foreach (ulong value in (ulong[])[ss, gpr[Gpr.Rsp], flags, cs, ip, origAx])
                Push(value);
            foreach (Gpr register in PtRegsOrder.Reverse())
                Push(gpr[register]);
            return Sp;
        }
    }
}
