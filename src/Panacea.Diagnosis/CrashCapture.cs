using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Image;
using Panacea.Kernel.Memory;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>A crash that could not be understood well enough to say anything of it.</summary>
public sealed class CaptureException(string message, Exception? inner = null) : Exception(message, inner);

/// <summary>Reads the evidence of a crash from a guest that stands still at a death point. Runs inside the stop window: it reads what a repair must know and touches what the report
/// will need, and leaves the wording for later.</summary>
/// <param name="image">The kernel's repair image.</param>
/// <param name="limits">Ceilings.</param>
public sealed class CrashCapture(RepairImage image, TargetLimits limits)
{
    private const uint PreemptMask = 0xff, SoftirqOffset = 0x100, HardirqMask = 0xf0000, NmiMask = 0xf00000;

    /// <summary>Frames of a whole stack: on one of 16 KiB there is no room for more return addresses.</summary>
    private const int WholeStackFrames = 2048;

    /// <summary>Decoded instructions that are kept from one crash to the next: the functions by which crashes come are the same, as a rule.</summary>
    private const int KeptInstructions = 30_000;

    private readonly CodeMap _codeMap = new(image);
    private AnalysedCode _code = new(image);
    private KeptHoldings? _holdings;

    private sealed record KeptHoldings(AnalysedCode Code, ulong? Offset, HoldingsAnalysis Analysis);

    /// <summary>The map of the kernel's code.</summary>
    public CodeMap CodeMap => _codeMap;

    /// <summary>Reads the evidence.</summary>
    /// <param name="guestMemory">Guest-physical memory.</param>
    /// <param name="vcpu">Registers of the vCPU that stands at <paramref name="point"/>.</param>
    /// <param name="point">Where it stands.</param>
    /// <param name="mark">Told when everything has been read (<c>evidence-read</c>).</param>
    /// <exception cref="CaptureException">The trap's registers can't be read.</exception>
    public CrashEvidence Capture(IGuestMemory guestMemory, VcpuRegisters vcpu, DeathPoint point, Action<string>? mark = null)
    {
        CapturedCpu cpu = Open(guestMemory, vcpu);
        OrcUnwinder unwinder = UnwinderOf(cpu);
        PtRegs crash;
        ulong regsAddress = 0;
        bool overflowed = false;
        string? entry = null;
        if (point.Symbol == "oops_end")
        {
            // oops_end(unsigned long flags, struct pt_regs *regs, int signr)
            regsAddress = vcpu.Gpr[Gpr.Rsi];
            if (!PtRegs.TryRead(cpu.Kernel.Space, regsAddress, out crash, out MemoryFault fault))
                throw new CaptureException($"the registers of the trap can't be read ({fault})");
            entry = FindTrapEntry(unwinder.Unwind(UnwindStart.From(vcpu)), regsAddress, out overflowed);

            // INT3 is a trap: the instruction stands before where the CPU would go on.
            if (entry == CrashKinds.BreakpointEntry)
                crash = crash with { Ip = unchecked(crash.Ip - 1) };
        }
        else
        {
            crash = new PtRegs { Gpr = vcpu.Gpr, Ip = vcpu.Rip, Flags = vcpu.Rflags, Cs = vcpu.Cs };
        }

        // The place where a recursion began lies at the other end of its stack.
        if (overflowed || entry == CrashKinds.DoubleFaultEntry)
            unwinder = UnwinderOf(cpu, limits with { MaxStackFrames = Math.Max(limits.MaxStackFrames, WholeStackFrames) });
        Backtrace stack = unwinder.Unwind(regsAddress == 0 ? UnwindStart.From(vcpu) : UnwindStart.From(crash, regsAddress));
        mark?.Invoke("evidence-read");
        uint handler = regsAddress == 0 ? 0 : HandlerPreemptCount(cpu, EntryPreemptCount(cpu, entry));
        return Evidence(cpu, point, crash, regsAddress, entry, stack, ContextOf(cpu.PreemptCount - handler, cpu.Task), overflowed) with
        {
            PreemptCount = (cpu.PreemptCount - handler) & PreemptMask,
            PreemptWord = cpu.PreemptCount - handler,
            HandlerPreemptCount = handler,
            StackFrom = regsAddress == 0 ? null : (ip, sp) => unwinder.Unwind(UnwindStart.From(crash.With(Gpr.Rsp, sp) with { Ip = ip }, regsAddress)),
        };
    }

    /// <summary>Reads the evidence of a CPU that does not get on.</summary>
    /// <param name="guestMemory">Guest-physical memory.</param>
    /// <param name="vcpu">Registers of its vCPU, anywhere in kernel code.</param>
    /// <param name="hang">What was seen of it.</param>
    /// <param name="earlier">Its stacks of a moment ago, while it hung already: the function that loops is the innermost one whose activation is in all of them.</param>
    public CrashEvidence CaptureHang(IGuestMemory guestMemory, VcpuRegisters vcpu, Hang hang, IReadOnlyList<Backtrace> earlier)
    {
        CapturedCpu cpu = Open(guestMemory, vcpu);
        Backtrace stack = UnwinderOf(cpu).Unwind(UnwindStart.From(vcpu));
        var now = new PtRegs { Gpr = vcpu.Gpr, Ip = vcpu.Rip, Flags = vcpu.Rflags, Cs = vcpu.Cs };
        CrashEvidence evidence = Evidence(cpu, new DeathPoint(Hang.Point, vcpu.Rip, 0), now, 0, null, stack, ContextOf(cpu.PreemptCount, cpu.Task), hang: hang);
        evidence = evidence with { PreemptCount = cpu.PreemptCount & PreemptMask, PreemptWord = cpu.PreemptCount };
        return evidence.FaultyFrame is { } faulty && Hang.Looping(stack, earlier) is { } looping && looping > faulty ? evidence with { FaultyFrame = looping } : evidence;
    }

    /// <summary>The stack of a CPU that stands anywhere in the kernel.</summary>
    public Backtrace StackOf(IGuestMemory guestMemory, VcpuRegisters vcpu) => UnwinderOf(Open(guestMemory, vcpu)).Unwind(UnwindStart.From(vcpu));

    /// <summary>What one CPU was doing, as far as it could be read at once.</summary>
    internal sealed record CapturedCpu(EvidenceMemory Memory, LinuxKernel Kernel, VcpuRegisters Vcpu, int? Cpu, CrashedTask? Task, uint? PreemptCount, List<string> Unavailable);

    /// <summary>Reads what is needed of one CPU before its stack can be walked.</summary>
    internal CapturedCpu Open(IGuestMemory guestMemory, VcpuRegisters vcpu)
    {
        var memory = new EvidenceMemory(guestMemory);
        LinuxKernel kernel = image.KernelOver(memory);
        var unavailable = new List<string>();
        int? cpu = PerCpu.CpuOf(kernel, vcpu);
        uint? preempt = Try<uint>("preempt count", () => PerCpu.PreemptCount(kernel, cpu ?? throw new KernelShapeException("the vCPU's per-CPU area is not known")), unavailable);
        return new CapturedCpu(memory, kernel, vcpu, cpu, ReadTask(kernel, cpu, unavailable), preempt, unavailable);
    }

    /// <summary>An unwinder that knows the stacks of that CPU.</summary>
    internal OrcUnwinder UnwinderOf(CapturedCpu cpu) => UnwinderOf(cpu, limits);

    private OrcUnwinder UnwinderOf(CapturedCpu cpu, TargetLimits ceilings) => new(image, _codeMap, image, cpu.Kernel.Space, StacksOf(cpu), ceilings);

    /// <summary>Everything that follows at once from a crash's registers and stack.</summary>
    internal CrashEvidence Evidence(
        CapturedCpu cpu, DeathPoint point, PtRegs crash, ulong regsAddress, string? entry, Backtrace stack, CrashContext context, bool overflowed = false, Hang? hang = null)
    {
        bool isTrap = point.Symbol == "oops_end";
        FaultAccess? access = isTrap ? Decode(cpu.Kernel, crash, cpu.Vcpu, entry) : null;
        CrashKind kind = hang?.Kind ?? CrashKinds.Refine(
            isTrap ? CrashKinds.Classify(entry, access, IsReadOnly(cpu.Kernel, access)) : CrashKind.Panic,
            stack.Frames.TakeWhile(f => f.Reliability == FrameReliability.Exact).Select(f => image.IsText(f.Ip) ? image.Symbolize(f.Point.LookupAddress)?.Name : null));
        if (overflowed)
            kind = CrashKind.StackOverflow;
        AnalysedCode code = Code();
        ulong? preemptCountAt = PreemptCountAddress(cpu);
        string? whyNot = "what does not get on is no function of this stack";
        int? faulty = hang is null ? FaultyFrames.Find(image, stack, isTrap, out whyNot) : hang.IsOfNobody ? null : FaultyFrames.FindHanging(image, stack, kind, out whyNot);
        return new CrashEvidence
        {
            Kernel = cpu.Kernel, Memory = cpu.Memory, Point = point, Vcpu = cpu.Vcpu, Crash = crash, PtRegsAddress = regsAddress, TrapEntry = entry,
            Kind = kind, Fault = access, Context = context, Cpu = cpu.Cpu, Task = cpu.Task, Stack = stack,
            PreemptCountAddress = preemptCountAt,
            Holdings = HoldingsOf(code, preemptCountAt, cpu.Vcpu.GsBase),
            Analysis = new FrameAnalysis(code, _codeMap, image, new GuestStack(cpu.Kernel.Space, StacksOf(cpu)), _codeMap, _codeMap),
            FaultyFrame = faulty, WhyNoFaultyFrame = whyNot, Unavailable = cpu.Unavailable, Hang = hang, IsGuardHit = overflowed,
        };
    }

    /// <summary>The pristine code, which does not change as long as the image is the same.</summary>
    private AnalysedCode Code()
    {
        AnalysedCode code = Volatile.Read(ref _code);
        if (code.Instructions > KeptInstructions)
            Volatile.Write(ref _code, code = new AnalysedCode(image));
        return code;
    }

    /// <summary>What functions hold follows from their code, and from where the preempt count lies in the CPU's area, which is the same for all CPUs.</summary>
    private HoldingsAnalysis HoldingsOf(AnalysedCode code, ulong? preemptCount, ulong gsBase)
    {
        ulong? offset = preemptCount is { } address ? unchecked(address - gsBase) : null;
        if (Volatile.Read(ref _holdings) is { } kept && ReferenceEquals(kept.Code, code) && kept.Offset == offset)
            return kept.Analysis;
        var analysis = new HoldingsAnalysis(code, a => image.Symbolize(a) is { Offset: 0 } location ? location.Name : null, _codeMap, preemptCount, gsBase);
        Volatile.Write(ref _holdings, new KeptHoldings(code, offset, analysis));
        return analysis;
    }

    private static ulong? PreemptCountAddress(CapturedCpu cpu)
    {
        if (cpu.Cpu is not { } number)
            return null;
        try
        {
            return PerCpu.PreemptCountAddress(cpu.Kernel, number);
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return null;
        }
    }

    private static StackMap StacksOf(CapturedCpu cpu)
    {
        List<KernelStack> stacks = Stacks.Of(cpu.Kernel, cpu.Cpu, cpu.Task?.Address ?? 0);

        // Without types no task tells where its stack is. Every kernel stack is aligned to its size (THREAD_ALIGN), so the stack pointer does.
        ulong sp = cpu.Vcpu.Gpr[Gpr.Rsp];
        if (new VirtualAddress(sp).IsKernelHalf && !stacks.Exists(s => s.Name == "task" || s.Contains(sp)))
            stacks.Add(Stacks.AroundPointer(sp));
        return new StackMap([.. stacks.Select(s => s.BoundsOn(cpu.Cpu))]);
    }

    /// <summary>Since 6.12 oops_enter() begins an emergency section of the console, which disables preemption until oops_exit() (kernel/printk/nbcon.c, nbcon_cpu_emergency_enter).</summary>
    /// <param name="cpu">The CPU.</param>
    /// <param name="entry">What the trap's entry has added before.</param>
    private static uint HandlerPreemptCount(CapturedCpu cpu, uint entry)
    {
        if (cpu.Cpu is not { } number || cpu.PreemptCount - entry is not > 0 || !cpu.Kernel.Image.TryFindPerCpuSymbol("nbcon_pcpu_emergency_nesting", out _))
            return entry;
        try
        {
            ulong nesting = PerCpu.Address(cpu.Kernel, "nbcon_pcpu_emergency_nesting", number);
            return cpu.Kernel.Space.ReadUInt32(new VirtualAddress(nesting), "nbcon_pcpu_emergency_nesting") > 0 ? entry + 1 : entry;
        }
        catch (GuestMemoryException)
        {
            return entry;
        }
    }

    /// <summary>A double fault is entered like an NMI, whatever it came upon, and so is a breakpoint in the kernel (exc_double_fault, exc_int3, irqentry_nmi_enter; include/linux/hardirq.h, __nmi_enter).</summary>
    private static uint EntryPreemptCount(CapturedCpu cpu, string? entry) =>
        entry is CrashKinds.DoubleFaultEntry or CrashKinds.BreakpointEntry && cpu.PreemptCount is { } count && (count & NmiMask) != 0 && (count & HardirqMask) != 0 ? CrashKinds.NmiPreemptCount : 0;

    /// <summary>Touches what the report will be written from after the guest goes on.</summary>
    public void TouchForReport(CrashEvidence evidence)
    {
        ReportInputs.Read(evidence, limits, []);
    }

    private static T? Try<T>(string what, Func<T> read, List<string> unavailable)
        where T : struct
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            unavailable.Add($"{what}: {e.Message}");
            return null;
        }
    }

    private static CrashedTask? ReadTask(LinuxKernel kernel, int? cpu, List<string> unavailable)
    {
        if (cpu is not { } number)
        {
            unavailable.Add("current task: the vCPU's per-CPU area is not known");
            return null;
        }

        try
        {
            ulong task = PerCpu.CurrentTask(kernel, number);
            return new CrashedTask(
                task, (int)kernel.ReadSigned(task, "task_struct.pid"), (int)kernel.ReadSigned(task, "task_struct.tgid"), kernel.ReadText(task, "task_struct.comm"),
                (uint)kernel.Read(task, "task_struct.flags"));
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            unavailable.Add($"current task: {e.Message}");
            return null;
        }
    }

    /// <summary>The assembly entry whose pt_regs oops_end was given: its return address is the frame inside those registers.</summary>
    /// <param name="handler">The stack at oops_end.</param>
    /// <param name="regsAddress">Where those registers are.</param>
    /// <param name="overflowed">The kernel itself found that a stack's guard page was hit (arch/x86/kernel/traps.c: handle_stack_overflow).</param>
    internal string? FindTrapEntry(Backtrace handler, ulong regsAddress, out bool overflowed)
    {
        overflowed = false;
        for (int i = 1; i < handler.Frames.Count; i++)
        {
            string? function = image.Symbolize(unchecked(handler.Frames[i - 1].Ip - 1))?.Name;
            overflowed |= function == "handle_stack_overflow";
            if (handler.Frames[i].RegsAddress == regsAddress)
                return function;
        }

        return null;
    }

    /// <summary>Decodes the access from the instruction and its registers. CR2 is not asked: by the time of oops_end the kernel has dumped code and stack, and a fault on the way has overwritten it.</summary>
    private FaultAccess Decode(LinuxKernel kernel, PtRegs crash, VcpuRegisters vcpu, string? entry)
    {
        var code = new LiveCode(kernel.Space);
        int bits = image.Meta.PagingLevels == 5 ? 57 : 48;
        FaultAccess Once(ulong? address) => FaultDecoder.Decode(code, crash.Ip, KnownRegisters.All(crash.Gpr), vcpu.GsBase, address, null, bits);
        bool isPageFault = entry is null or "asm_exc_page_fault";
        if (isPageFault && !_codeMap.IsText(crash.Ip))
            return Once(crash.Ip);
        FaultAccess access = Once(null);
        return entry == "asm_exc_page_fault" && access is { Address: null, Operand.Address: { } address } ? Once(address) : access;
    }

    /// <summary>A page of the kernel's half that is mapped, and not for writing.</summary>
    private static bool IsReadOnly(LinuxKernel kernel, FaultAccess? access) =>
        access is { Kind: AccessKind.Write, Address: { } address } && new VirtualAddress(address).IsKernelHalf
        && kernel.Space.TryTranslate(new VirtualAddress(address), out var page, out _) && !page.Writable;

    /// <summary>From the preempt count (include/linux/preempt.h): NMI over hardirq over softirq being served (an odd count of SOFTIRQ_OFFSET; disabling adds two) over the task.</summary>
    private static CrashContext ContextOf(uint? preempt, CrashedTask? task)
    {
        if (preempt is not { } count || task is null)
            return CrashContext.Unknown;
        if ((count & NmiMask) != 0)
            return CrashContext.Nmi;
        if ((count & HardirqMask) != 0)
            return CrashContext.Hardirq;
        if ((count & SoftirqOffset) != 0)
            return CrashContext.Softirq;
        return task.Pid == 0 ? CrashContext.Idle : task.IsKernelThread ? CrashContext.KernelThread : CrashContext.Process;
    }
}
