using System.Globalization;
using Panacea.Injection.Memory;
using Panacea.Injection.Text;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Repair;
using Panacea.Target;

namespace Panacea.Injection;

/// <summary>Chooses faults. Writes nothing: what it gives is data.</summary>
/// <param name="kernel">The kernel over the guest's memory; for faults that are not of text, of a guest that stands.</param>
/// <param name="code">Its code map.</param>
/// <param name="limits">Ceilings.</param>
public sealed class FaultPlanner(LinuxKernel kernel, CodeMap code, TargetLimits limits)
{
    /// <summary>Functions that are tried before there is said to be no place for a fault.</summary>
    private const int MaxFunctions = 4096;

    /// <summary>The word for functions that are being used.</summary>
    public const string Hot = "hot";

    /// <summary>Faults that are listed of one function, at most.</summary>
    public const int MaxListed = 1000;

    /// <summary>Chooses a fault by seed.</summary>
    /// <param name="type">Its kind.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="functions">Where it may be: functions, each as likely as the others. Of no meaning for faults of data and registers.</param>
    /// <param name="registers">Of all vCPUs of a guest that stands.</param>
    /// <param name="plan">The fault.</param>
    /// <param name="whyNot">Why there is none, in a sentence.</param>
    /// <exception cref="GuestMemoryException">The guest's memory can't be read.</exception>
    /// <exception cref="KernelShapeException">The kernel lacks what is needed.</exception>
    public bool TryPlan(FaultType type, ulong seed, IReadOnlyList<NamedFunction> functions, IReadOnlyList<VcpuRegisters> registers, out FaultPlan plan, out string whyNot)
    {
        whyNot = "";
        FaultPlan? found = FaultKinds.Of(type).Class switch
        {
            FaultClass.Memory => OfMemory(type, seed, registers, out whyNot),
            FaultClass.Register => OfRegister(seed, registers, out whyNot),
            _ => OfFunctions(type, seed, functions, out whyNot),
        };
        plan = found!;
        return found is not null;
    }

    /// <summary>What a kind of fault could be in one function: one for each place, at most <see cref="MaxListed"/>.</summary>
    /// <param name="type">The kind: of text, or direct.</param>
    /// <param name="seed">The seed.</param>
    /// <param name="function">The function.</param>
    /// <param name="whyNone">Why there are none.</param>
    public IReadOnlyList<Fault> List(FaultType type, ulong seed, NamedFunction function, out string whyNone)
    {
        whyNone = "";
        if (FaultKinds.Of(type).Class != FaultClass.Text)
            return OfFunction(type, seed, function, out whyNone) is { } one ? [one.Fault] : [];
        if (!TextFaults.TryOf(kernel, code, function.Entry, out TextFaults? faults, out whyNone))
            return [];
        whyNone = NoPlace(type, function);
        return [.. faults.All(type, seed).Take(MaxListed).Select(m => PlanOf(type, seed, function, m).Fault)];
    }

    /// <summary>What is there now of memory that is to be written, for the record.</summary>
    internal static IReadOnlyList<FaultChange> ChangesOf(LinuxKernel kernel, IReadOnlyList<PlannedWrite> writes) =>
        [.. writes.Select(w =>
        {
            byte[] before = new byte[w.Bytes.Length];
            kernel.Space.Read(w.Address, before, w.Why);
            return new FaultChange($"0x{w.Address.Value:x}", Convert.ToHexStringLower(before), Convert.ToHexStringLower(w.Bytes.Span), w.Why);
        })];

    private FaultPlan? OfMemory(FaultType type, ulong seed, IReadOnlyList<VcpuRegisters> registers, out string whyNot)
    {
        var faults = new MemoryFaults(kernel, limits, seed);
        return type switch
        {
            FaultType.StackBitFlip => faults.Stack(registers, out whyNot),
            FaultType.HeapBitFlip => faults.Heap(out whyNot),
            _ => faults.EarlyFree(out whyNot),
        };
    }

    private FaultPlan? OfRegister(ulong seed, IReadOnlyList<VcpuRegisters> registers, out string whyNot)
    {
        whyNot = "no vCPU runs kernel code at this moment";
        var random = new SeededRandom(seed, "register");
        VcpuRegisters[] inKernel = [.. registers.Where(r => !r.IsUserMode)];
        if (inKernel.Length == 0)
            return null;
        VcpuRegisters vcpu = random.Of(inKernel);
        var register = (Gpr)random.Below(16);
        int bit = random.Below(64);
        ulong value = vcpu.Gpr[register] ^ (1UL << bit);
        string name = register.ToString().ToLowerInvariant();
        var fault = new Fault
        {
            Type = FaultType.Register,
            Seed = seed,
            Explanation = string.Create(CultureInfo.InvariantCulture, $"bit {bit} of {name} of vCPU {vcpu.Vcpu} is flipped: 0x{vcpu.Gpr[register]:x} becomes 0x{value:x}, at {kernel.Image.Place(vcpu.Rip)}"),
            Place = kernel.Image.Symbolize(vcpu.Rip) is { } at ? new FaultPlace(at.Name, at.Module, (long)at.Offset) : null,
            Register = $"vcpu{vcpu.Vcpu}.{name}",
            Release = kernel.Image.Meta.Release,
        };
        return new FaultPlan(fault, [], [new PlannedRegister(vcpu.Vcpu, (WritableRegister)(int)register, value, "a flipped bit")]);
    }

    private FaultPlan? OfFunctions(FaultType type, ulong seed, IReadOnlyList<NamedFunction> functions, out string whyNot)
    {
        whyNot = "there is no function to choose from";
        if (functions.Count == 0)
            return null;
        if (functions.Count == 1)
            return OfFunction(type, seed, functions[0], out whyNot);
        var random = new SeededRandom(seed, "function");
        for (int attempt = 0; attempt < MaxFunctions; attempt++)
        {
            if (OfFunction(type, seed, random.Of(functions), out _) is { } plan)
                return plan;
        }

        whyNot = $"none of the functions that were tried has a place for {FaultKinds.Of(type).Name}";
        return null;
    }

    private FaultPlan? OfFunction(FaultType type, ulong seed, NamedFunction function, out string whyNot)
    {
        if (FaultKinds.Of(type).Class == FaultClass.Direct)
            return Direct(type, seed, function, out whyNot);
        whyNot = NoPlace(type, function);
        if (!TextFaults.TryOf(kernel, code, function.Entry, out TextFaults? faults, out string why))
            whyNot = $"{function.Name} can't be changed: {why}";
        return faults?.Choose(type, seed) is { } mutation ? PlanOf(type, seed, function, mutation) : null;
    }

    private FaultPlan? Direct(FaultType type, ulong seed, NamedFunction function, out string whyNot)
    {
        whyNot = kernel.Image.Meta.DeathPoints.Any(p => p.Symbol == function.Name) ? $"{function.Name} is where a dying kernel is caught: it has to be as it is"
            : FusePlan.WhyNotEntry(kernel, function.Name, function.Entry) ?? "";
        Span<byte> entry = stackalloc byte[FuseCode.EntryBytes];
        if (whyNot.Length > 0 || !kernel.Space.TryRead(new VirtualAddress(function.Entry), entry, out _))
            return null;
        ulong place = function.Entry + (ulong)FuseCode.OffsetOfNop(entry);
        if (!DirectFaults.TryWrites(kernel, type, place, out IReadOnlyList<PlannedWrite> writes, out whyNot))
            return null;
        var fault = new Fault
        {
            Type = type,
            Seed = seed,
            Place = new FaultPlace(function.Name, function.Module, (long)(place - function.Entry)),
            Explanation = $"{function.Name}{(function.Module is null ? "" : $" [{function.Module}]")}: {FaultKinds.Of(type).Summary}, whenever it is called",
            CodeBefore = Mutation.Text(place, FuseCode.Nop),
            CodeAfter = Mutation.Text(place, writes[^1].Bytes.Span),
            Trigger = $"0x{place:x}",
            Changes = ChangesOf(kernel, writes),
            Release = kernel.Image.Meta.Release,
        };
        return new FaultPlan(fault, writes, []);
    }

    private FaultPlan PlanOf(FaultType type, ulong seed, NamedFunction function, Mutation mutation)
    {
        PlannedWrite[] writes = [new(new VirtualAddress(mutation.Address), mutation.After, $"{FaultKinds.Of(type).Name} of {function.Name}")];
        var place = new FaultPlace(function.Name, function.Module, unchecked((long)(mutation.Address - function.Entry)));
        var fault = new Fault
        {
            Type = type,
            Seed = seed,
            Place = place,
            Explanation = $"{place} {mutation.What}",
            CodeBefore = Mutation.Text(mutation.Address, mutation.Before),
            CodeAfter = Mutation.Text(mutation.Address, mutation.After),
            Trigger = $"0x{mutation.Address:x}",
            Changes = ChangesOf(kernel, writes),
            Release = kernel.Image.Meta.Release,
        };
        return new FaultPlan(fault, writes, []);
    }

    private static string NoPlace(FaultType type, NamedFunction function) => $"{function.Name} has no place for {FaultKinds.Of(type).Name}";
}
