using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Types;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Diagnosis;

/// <summary>Where the bad value of a crash came from, followed back within the faulty function.</summary>
internal static class FaultOrigins
{
    /// <summary>A sentence's end, such as <c>%rax was loaded from file.private_data at foo_write+0x12</c>; null where it can't be told.</summary>
    public static string? Of(CrashEvidence evidence)
    {
        if (evidence.Faulty is not { } frame || !evidence.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts parts))
            return null;
        RepairImage image = evidence.Kernel.Image;
        TypeCatalog types = image.TryTypesFor(image.Symbolize(parts.Main.Start)?.Module, out TypeCatalog own) ? own : TypeCatalog.Empty;
        if (evidence.Kind is CrashKind.NullCall or CrashKind.WildCall)
            return OfCall(evidence, frame, parts, types);
        if (!frame.IsTrap || evidence.Fault is not { BadRegister: { } bad })
            return null;
        return ValueOrigins.TryFind(evidence.Analysis.Code, parts, frame.Ip, bad.Register, evidence.Analysis.Hints, types, out ValueOrigin origin) ? Say(image, bad.Register, origin) : null;
    }

    private static string? OfCall(CrashEvidence evidence, StackFrame frame, in FunctionParts parts, TypeCatalog types)
    {
        RepairImage image = evidence.Kernel.Image;
        ICodeSource code = evidence.Analysis.Code;
        if (frame.IsTrap || !CallSites.TryFindCallBefore(code, parts, frame.Ip, out CallSite call))
            return null;
        int length = (int)(call.ReturnAddress - call.Address);
        byte[] bytes = new byte[length];
        if (length is < 2 or > 15 || !code.TryReadCode(call.Address, bytes))
            return null;
        Decoder decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes));
        decoder.IP = call.Address;
        decoder.Decode(out Instruction instruction);
        if (instruction.Op0Kind == OpKind.Memory)
            return ValueOrigins.FieldOf(code, parts, call.Address, evidence.Analysis.Hints, types) is { } field ? $"the pointer that was called is {field}" : null;
        Gpr? register = instruction.Op0Kind == OpKind.Register ? (Gpr)(instruction.Op0Register - Register.RAX) : ThunkRegister(image, call.Target);
        return register is { } r && ValueOrigins.TryFind(code, parts, call.Address, r, evidence.Analysis.Hints, types, out ValueOrigin origin) ? Say(image, r, origin) : null;
    }

    /// <summary>Indirect calls go through <c>__x86_indirect_thunk_rax</c> and its like where retpolines are built in (arch/x86/lib/retpoline.S).</summary>
    private static Gpr? ThunkRegister(RepairImage image, ulong? target)
    {
        const string prefix = "__x86_indirect_thunk_";
        return target is { } at && image.Symbolize(at) is { Offset: 0, Name: var name } && name.StartsWith(prefix, StringComparison.Ordinal)
            && Enum.TryParse(name[prefix.Length..], ignoreCase: true, out Gpr register) && Enum.IsDefined(register) ? register : null;
    }

    private static string Say(RepairImage image, Gpr register, ValueOrigin origin)
    {
        string name = $"%{register.ToString().ToLowerInvariant()}";
        string at = image.Symbolize(origin.Address) is { } place ? $"{place.Name}+0x{place.Offset:x}" : $"0x{origin.Address:x}";
        if (origin.Parameter is not null)
            return $"{name} is the argument {origin.Parameter}{(origin.ParameterType is { } type ? $" ({type})" : "")}";
        if (origin.Field is not null)
            return $"{name} was loaded from {origin.Field} at {at}";
        if (origin.Variable is { } variable)
            return $"{name} was loaded from {(image.Symbolize(variable) is { } v ? v.Offset == 0 ? $"the variable {v.Name}" : $"{v.Name}+0x{v.Offset:x}" : $"0x{variable:x}")} at {at}";
        if (origin.IsReturned)
            return $"{name} was returned by {(origin.Callee is { } callee && image.Symbolize(callee) is { } f ? f.Name : "a function that was called through a pointer")} at {at}";
        return $"{name} was set at {at}";
    }
}
