using Iced.Intel;
using Panacea.Formats.Btf;
using Panacea.Kernel.Types;
using Panacea.Target;

namespace Panacea.Kernel.Code;

/// <summary>Where the value of a register came from, within its function.</summary>
/// <param name="Address">The instruction that set it; the function's entry for an argument.</param>
/// <param name="Parameter">The argument that it is, by name; null where it is none.</param>
/// <param name="ParameterType">Its type, as C writes it, where BTF tells.</param>
/// <param name="Field">The member that it was loaded from, <c>type.member[.member]</c>, where BTF tells.</param>
/// <param name="Variable">Address of the variable that it was loaded from; null where it was from none.</param>
/// <param name="Callee">Address of the function that returned it; null where none did, or the call was indirect.</param>
/// <param name="IsReturned">A call returned it.</param>
public sealed record ValueOrigin(ulong Address, string? Parameter, string? ParameterType, string? Field, ulong? Variable, ulong? Callee, bool IsReturned);

/// <summary>Follows register values forward through a function, with the types of what pointers point to: the arguments' from the function's BTF prototype, members' from the structs.</summary>
/// <remarks>A value that comes from different places on different ways is not told. What goes through the stack is followed no further than the load. Bounded by <see cref="FlowGraph.MaxInstructions"/>.</remarks>
public static class ValueOrigins
{
    private static readonly Gpr[] Arguments = [Gpr.Rdi, Gpr.Rsi, Gpr.Rdx, Gpr.Rcx, Gpr.R8, Gpr.R9];
    private static readonly Gpr[] CalleeSaved = [Gpr.Rbx, Gpr.Rsp, Gpr.Rbp, Gpr.R12, Gpr.R13, Gpr.R14, Gpr.R15];

    /// <summary>Times an instruction may be looked at again before what still changes there is given up.</summary>
    private const int MaxVisits = 32;

    /// <summary>Where a register's value came from, as of the instruction at <paramref name="at"/> before it is executed.</summary>
    /// <param name="code">Pristine text.</param>
    /// <param name="function">The function.</param>
    /// <param name="at">The instruction.</param>
    /// <param name="register">The register.</param>
    /// <param name="hints">What else is known of control flow.</param>
    /// <param name="types">Types to name arguments and members by; may be empty.</param>
    /// <param name="origin">The origin.</param>
    /// <returns>False where it can't be told.</returns>
    public static bool TryFind(
        ICodeSource code, in FunctionParts function, ulong at, Gpr register, IControlFlowHints? hints, TypeCatalog types, out ValueOrigin origin)
    {
        origin = null!;
        if (!TryStates(code, function, hints, types, at, out State state) || state[register] is not { } value)
            return false;
        origin = value.Origin;
        return true;
    }

    /// <summary>The member that a memory operand of the instruction at <paramref name="at"/> names, <c>type.member[.member]</c>; null where it can't be told.</summary>
    public static string? FieldOf(ICodeSource code, in FunctionParts function, ulong at, IControlFlowHints? hints, TypeCatalog types)
    {
        if (!TryStates(code, function, hints, types, at, out State state) || !FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _)
            || !graph.Instructions.TryGetValue(at, out Instruction instruction))
            return null;
        return Member(state, instruction)?.Field;
    }

    /// <summary>A value: where it came from, and the struct that it points to.</summary>
    private sealed record Value(ValueOrigin Origin, BtfType? PointsTo)
    {
        public bool Equals(Value? other) => other is not null && Origin == other.Origin;

        public override int GetHashCode() => Origin.GetHashCode();
    }

    /// <summary>A value a register; null where it is not known or differs from way to way.</summary>
    private readonly struct State(Value?[] values)
    {
        public Value? this[Gpr register] => values[(int)register];

        public Value?[] Copy() => (Value?[])values.Clone();

        public bool IsEmpty => values is null;

        /// <summary>What holds on both ways.</summary>
        public bool Merge(State other, out State merged)
        {
            Value?[] result = Copy();
            bool changed = false;
            for (int i = 0; i < result.Length; i++)
            {
                if (result[i] is not null && !result[i]!.Equals(other[(Gpr)i]))
                {
                    result[i] = null;
                    changed = true;
                }
            }

            merged = new State(result);
            return changed;
        }
    }

    private static bool TryStates(ICodeSource code, in FunctionParts function, IControlFlowHints? hints, TypeCatalog types, ulong at, out State found)
    {
        found = default;
        if (!FlowGraph.TryBuild(code, function, hints ?? NoHints.Instance, out FlowGraph graph, out _) || !graph.Instructions.ContainsKey(at))
            return false;
        var factory = new InstructionInfoFactory();
        var states = new Dictionary<ulong, State> { [function.Main.Start] = Entry(function, types) };
        var visits = new Dictionary<ulong, int>();
        var pending = new Queue<ulong>([function.Main.Start]);
        var edges = new List<FlowEdge>(4);
        while (pending.TryDequeue(out ulong ip))
        {
            if (!graph.Instructions.TryGetValue(ip, out Instruction instruction) || (visits[ip] = visits.GetValueOrDefault(ip) + 1) > MaxVisits)
                continue;
            State after = Step(states[ip], instruction, factory, types, graph);
            graph.EdgesOf(instruction, edges);
            foreach (FlowEdge edge in edges)
            {
                if (!states.TryGetValue(edge.To, out State before))
                {
                    states[edge.To] = after;
                    pending.Enqueue(edge.To);
                }
                else if (before.Merge(after, out State merged))
                {
                    states[edge.To] = merged;
                    pending.Enqueue(edge.To);
                }
            }
        }

        return states.TryGetValue(at, out found) && !found.IsEmpty;
    }

    private static State Entry(in FunctionParts function, TypeCatalog types)
    {
        var values = new Value?[16];
        if (types.Btf is { } btf && btf.TryFindFunction(function.Main.Name, out BtfFunction prototype))
        {
            for (int i = 0; i < Math.Min(prototype.ParameterCount, Arguments.Length); i++)
            {
                BtfParameter parameter = prototype.Prototype.Parameter(i);
                if (!btf.TryResolve(parameter.TypeId, out BtfType type) || !btf.TrySizeOf(type.Id, out int bytes) || bytes > 8)
                    break; // A struct by value takes registers or the stack by rules of its own: what comes after it is not known.
                values[(int)Arguments[i]] = new Value(
                    new ValueOrigin(function.Main.Start, parameter.Name.Length > 0 ? parameter.Name : $"argument {i + 1}", BtfFormatter.TypeName(btf.GetType(parameter.TypeId)), null, null, null, false), PointeeOf(type));
            }
        }

        return new State(values);
    }

    private static State Step(State before, in Instruction instruction, InstructionInfoFactory factory, TypeCatalog types, FlowGraph graph)
    {
        Value?[] values = before.Copy();
        if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall)
        {
            for (int i = 0; i < values.Length; i++)
            {
                if (!CalleeSaved.Contains((Gpr)i))
                    values[i] = null;
            }

            ulong? callee = instruction.FlowControl == FlowControl.Call && !graph.IsLocalCall(instruction) ? instruction.NearBranchTarget : null;
            values[(int)Gpr.Rax] = new Value(new ValueOrigin(instruction.IP, null, null, null, null, callee, true), null);
            return new State(values);
        }

        foreach (UsedRegister used in factory.GetInfo(instruction).GetUsedRegisters())
        {
            if (used.Access is OpAccess.Read or OpAccess.CondRead or OpAccess.NoMemAccess or OpAccess.None || ToGpr(used.Register) is not { } written)
                continue;
            bool isWhole = used.Register.IsGPR64() || used.Register.IsGPR32();
            values[(int)written] = isWhole && used.Access == OpAccess.Write ? Written(before, instruction) : Set(instruction);
        }

        return new State(values);
    }

    /// <summary>The value that a MOV or LEA writes; any other instruction's is only where it was computed.</summary>
    private static Value Written(State before, in Instruction instruction)
    {
        if (instruction.Mnemonic == Mnemonic.Mov && instruction.Op1Kind == OpKind.Register && instruction.Op1Register.IsGPR64() && ToGpr(instruction.Op1Register) is { } from)
            return before[from] ?? Set(instruction);
        if (instruction.Mnemonic == Mnemonic.Mov && instruction.Op1Kind == OpKind.Memory)
        {
            // RIP-relative in modules, absolute in much of the kernel itself.
            if (instruction is { MemoryBase: Register.None or Register.RIP, MemoryIndex: Register.None } && instruction.MemorySegment is not (Register.GS or Register.FS))
                return new Value(new ValueOrigin(instruction.IP, null, null, null, instruction.MemoryDisplacement64, null, false), null);
            if (Member(before, instruction) is { } member)
                return new Value(new ValueOrigin(instruction.IP, null, null, member.Field, null, null, false), PointeeOf(member.Type));
        }

        return Set(instruction);
    }

    private static (string Field, BtfType Type)? Member(State state, in Instruction instruction)
    {
        if (ToGpr(instruction.MemoryBase) is not { } register || instruction.MemoryIndex != Register.None || instruction.MemorySegment is Register.GS or Register.FS
            || state[register] is not { PointsTo: { } pointee } || unchecked((long)instruction.MemoryDisplacement64) is < 0 or > int.MaxValue)
            return null;
        int bytes = instruction.MemorySize.GetSize();
        return StructLayout.TryMemberAt(pointee, instruction.MemoryDisplacement64, bytes, out string path, out BtfType type) ? ($"{pointee.Name}.{path}", type) : null;
    }

    private static Value Set(in Instruction instruction) => new(new ValueOrigin(instruction.IP, null, null, null, null, null, false), null);

    private static BtfType? PointeeOf(BtfType type) =>
        type.Kind == BtfKind.Ptr && type.Data.TryResolve(type.TargetId, out BtfType pointee) && pointee.IsComposite && pointee.Name.Length > 0 ? pointee : null;

    private static Gpr? ToGpr(Register register) => register.IsGPR() && register.GetFullRegister() is >= Register.RAX and <= Register.R15 and var full ? (Gpr)(full - Register.RAX) : null;
}
