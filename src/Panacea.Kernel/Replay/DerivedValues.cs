using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Kernel.Replay;

/// <summary>A value that a register should hold, as the code of its function makes it.</summary>
/// <param name="Register">The register.</param>
/// <param name="Value">What it should hold.</param>
/// <param name="IsLoaded">It was read from memory that may have changed since, or is of a CPU that the code may have left since: what the register holds may be right all the same.</param>
public readonly record struct DerivedValue(Gpr Register, ulong Value, bool IsLoaded);

/// <summary>What derived values rest on.</summary>
public sealed record DerivationInput
{
    /// <summary>Pristine text.</summary>
    public required ICodeSource Code { get; init; }

    /// <summary>What else is known of control flow; null for nothing.</summary>
    public IControlFlowHints? Hints { get; init; }

    /// <summary>The kernel's address space, over memory that does not change meanwhile.</summary>
    public required AddressSpace Space { get; init; }

    /// <summary>What replays over the same memory have in common.</summary>
    public ReplayCache Cache { get; init; } = new();

    /// <summary>Base of GS of the CPU.</summary>
    public required ulong GsBase { get; init; }

    /// <summary>Guest-virtual address of the task_struct of the task that runs; 0 where there is none.</summary>
    public ulong Task { get; init; }

    /// <summary>What the function was called with, as far as that is known.</summary>
    public required IReadOnlyDictionary<Gpr, DerivedValue> Arguments { get; init; }

    /// <summary>The code has been on this CPU since it began: it is an interrupt's, or preemption is off.</summary>
    public required bool IsPinned { get; init; }
}

/// <summary>
/// What registers should hold at a place of a function that has called others since it set them: computed again, instruction by instruction, where there is only one that can have set each (its reaching definition), from
/// arguments, constants, addresses and memory. A callee whose code is wrong gives back another value than it was given, and nothing in its caller's own code would show that.
/// </summary>
/// <remarks>Not safe for concurrent use; bounded.</remarks>
public sealed class DerivedValues
{
    /// <summary>Definitions that one value may rest on, one behind the other, and instructions looked at for each of them.</summary>
    private const int MaxDepth = 12, MaxVisited = 4096;

    /// <summary>Instructions that are executed for all of them.</summary>
    private const int MaxExecuted = 128;

    private readonly FlowGraph _graph;
    private readonly ulong _entry;
    private readonly DerivationInput _input;
    private readonly ReplayMemory _memory;
    private readonly InstructionInfoFactory _factory = new();
    private readonly Dictionary<ulong, ushort> _writes = [];

    // Instructions that may be executed yet.
    private int _left;

    private DerivedValues(FlowGraph graph, ulong entry, DerivationInput input)
    {
        (_graph, _entry, _input) = (graph, entry, input);
        _memory = new ReplayMemory(input.Space, input.Cache);
    }

    /// <summary>Begins with a function: what is found out of its code is for all places in it.</summary>
    /// <param name="input">What they rest on.</param>
    /// <param name="function">The function.</param>
    /// <returns>Null where the function may have code that is not known.</returns>
    public static DerivedValues? Of(DerivationInput input, in FunctionParts function) =>
        FlowGraph.TryBuild(input.Code, function, input.Hints ?? NoHints.Instance, out FlowGraph graph, out _) && !graph.HasUnknownTargets ? new DerivedValues(graph, function.Main.Start, input) : null;

    /// <summary>Finds what can be told of some registers.</summary>
    /// <param name="point">Where the function stands: guest-virtual address of an instruction of it.</param>
    /// <param name="registers">The registers.</param>
    /// <returns>None where it is about to return.</returns>
    public IReadOnlyList<DerivedValue> Find(ulong point, IEnumerable<Gpr> registers)
    {
        if (!_graph.Instructions.TryGetValue(point, out Instruction at) || at.Mnemonic is Mnemonic.Pop or Mnemonic.Leave || at.FlowControl == FlowControl.Return)
            return [];
        _left = MaxExecuted;
        var found = new List<DerivedValue>();
        foreach (Gpr register in registers)
        {
            if (TryValue(register, point, MaxDepth, out ulong value, out bool isLoaded))
                found.Add(new DerivedValue(register, value, isLoaded));
        }

        return found;
    }

    /// <summary>What a register holds before an instruction is executed.</summary>
    private bool TryValue(Gpr register, ulong at, int depth, out ulong value, out bool isLoaded)
    {
        (value, isLoaded) = (0, false);
        if (depth == 0 || register == Gpr.Rsp || !TryDefinition(register, at, out ulong? definition))
            return false;
        if (definition is { } ip)
            return TryExecute(register, ip, depth, out value, out isLoaded);

        // No instruction has set it: it is as it was when the function was called.
        if (!_input.Arguments.TryGetValue(register, out DerivedValue argument))
            return false;
        (value, isLoaded) = (argument.Value, argument.IsLoaded);
        return true;
    }

    /// <summary>The only instruction that can have set a register last; null for none, where it is as the function got it.</summary>
    private bool TryDefinition(Gpr register, ulong at, out ulong? definition)
    {
        definition = null;
        bool isFound = at == _entry;
        var pending = new Stack<ulong>(_graph.Predecessors.GetValueOrDefault(at) ?? []);
        var seen = new HashSet<ulong>();
        while (pending.TryPop(out ulong ip))
        {
            if (!seen.Add(ip))
                continue;
            if (seen.Count > MaxVisited)
                return false;
            bool isDefinition = (WritesOf(ip) & (1 << (int)register)) != 0;
            if (isDefinition || ip == _entry)
            {
                ulong? one = isDefinition ? ip : null;
                if (isFound && definition != one)
                    return false;
                (isFound, definition) = (true, one);
            }

            if (!isDefinition)
            {
                foreach (ulong from in _graph.Predecessors.GetValueOrDefault(ip) ?? [])
                    pending.Push(from);
            }
        }

        return isFound;
    }

    private bool TryExecute(Gpr register, ulong ip, int depth, out ulong value, out bool isLoaded)
    {
        (value, isLoaded) = (0, false);
        if (_left-- <= 0)
            return false;
        Instruction instruction = _graph.Instructions[ip];

        // What gives a register back, or exchanges, sets it to what this can't tell.
        if (instruction.FlowControl != FlowControl.Next || instruction.Mnemonic is Mnemonic.Pop or Mnemonic.Leave or Mnemonic.Xchg or Mnemonic.Xadd or Mnemonic.Rdtsc || instruction.HasLockPrefix || instruction.IsPrivileged || instruction.IsStringInstruction)
            return false;
        InstructionInfo info = _factory.GetInfo(instruction);
        UsedRegister[] used = [.. info.GetUsedRegisters()];
        UsedMemory[] touched = [.. info.GetUsedMemory()];
        if (Array.Exists(touched, m => m.Access is not (OpAccess.Read or OpAccess.NoMemAccess)) || Array.Exists(used, r => IsWritten(r) && r.Register.IsGPR() && r.Register.GetSize() < 4))
            return false;
        var cpu = new ReplayCpu(_memory, _input.GsBase, _input.Cache) { Ip = ip };
        foreach (UsedRegister one in used.Where(r => r.Register.IsGPR() && r.Access is OpAccess.Read or OpAccess.ReadWrite or OpAccess.CondRead or OpAccess.ReadCondWrite))
        {
            var from = (Gpr)(one.Register.GetFullRegister() - Register.RAX);
            if (!TryValue(from, ip, depth - 1, out ulong input, out bool isInputLoaded))
                return false;
            cpu[from] = Bits.Of(input);
            isLoaded |= isInputLoaded;
        }

        if (cpu.Step(instruction) != StepEnd.Done || !cpu[register].Knows(8))
            return false;
        value = cpu[register].Value;
        isLoaded |= touched.Any(m => m.Access == OpAccess.Read) && !IsSettled(instruction);
        return true;
    }

    /// <summary>What it reads does not change while the code runs: the task that runs, and where the CPU's own variables are (DEFINE_PER_CPU_READ_MOSTLY this_cpu_off: on x86-64 it is what GS points to).</summary>
    private bool IsSettled(in Instruction instruction)
    {
        if (instruction.MemorySegment != Register.GS || instruction.MemoryIndex != Register.None || instruction.MemoryBase is not (Register.None or Register.RIP) || instruction.MemorySize.GetSize() != sizeof(ulong)
            || _memory.Read(unchecked(instruction.MemoryDisplacement64 + _input.GsBase), sizeof(ulong), out Bits word) != ReplayAccess.Done)
            return false;
        return word.Value == _input.GsBase ? _input.IsPinned : word.Value == _input.Task && _input.Task != 0;
    }

    /// <summary>Registers that an instruction may change, a bit each; a call those that a callee need not give back.</summary>
    private ushort WritesOf(ulong ip)
    {
        if (_writes.TryGetValue(ip, out ushort written))
            return written;
        Instruction instruction = _graph.Instructions[ip];
        if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
        {
            foreach (Gpr register in (ReadOnlySpan<Gpr>)[Gpr.Rax, Gpr.Rcx, Gpr.Rdx, Gpr.Rsi, Gpr.Rdi, Gpr.R8, Gpr.R9, Gpr.R10, Gpr.R11])
                written |= (ushort)(1 << (int)register);
        }

        foreach (UsedRegister used in _factory.GetInfo(instruction).GetUsedRegisters())
        {
            if (IsWritten(used) && used.Register.IsGPR())
                written |= (ushort)(1 << (used.Register.GetFullRegister() - Register.RAX));
        }

        _writes.Add(ip, written);
        return written;
    }

    private static bool IsWritten(UsedRegister used) => used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite;
}
