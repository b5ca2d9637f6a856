using System.Globalization;
using Panacea.Formats.ConsoleLog;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Diagnosis.ConsoleLog;

/// <summary>What a trap's registers and code bytes say, by the decoder and the rule that also serve crashes read from memory.</summary>
internal static class LogTraps
{
    /// <summary>A log does not tell where code lies. This place makes what is relative to RIP look like any other kernel address.</summary>
    private const ulong CodeBase = 0xffff_ffff_8100_0000;

    private static readonly string[] Names = ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    /// <summary>Kind and access of a trap.</summary>
    /// <param name="report">A report of a trap.</param>
    /// <param name="access">The access, decoded; null where registers or code bytes are missing.</param>
    /// <param name="address">The address of the access; null where there is none.</param>
    /// <param name="kind">What the access did, from the instruction or from the kernel's own words.</param>
    public static CrashKind Classify(LogReport report, out FaultAccess? access, out ulong? address, out AccessKind kind)
    {
        access = null;
        address = Hex(report.Fact("address"));
        ulong? error = Hex(report.Fact("error"));
        kind = Worded(report, error);
        if (report.Kind is LogReportKind.PageFault)
            return PageFault(report, error, ref access, ref address, ref kind);
        if (report.Kind is not LogReportKind.KernelBug)
            access = Decode(report, null, null);
        if (access is { Address: { } accessed })
            address ??= accessed;
        if (access is not null && access.Kind != AccessKind.None)
            kind = access.Kind;
        return report.Kind switch
        {
            LogReportKind.GeneralProtection => CrashKind.GeneralProtection,
            LogReportKind.KernelBug => CrashKind.Bug,
            LogReportKind.InvalidOpcode => CrashKinds.Classify("asm_exc_invalid_op", access, false),
            LogReportKind.DivideError => CrashKind.DivideError,
            LogReportKind.Int3 => CrashKind.Breakpoint,
            LogReportKind.StackSegment => CrashKind.StackSegment,
            LogReportKind.DoubleFault => CrashKind.DoubleFault,
            LogReportKind.StackOverflow => CrashKind.StackOverflow,
            LogReportKind.ControlProtection => CrashKind.ControlProtection,
            LogReportKind.AlignmentCheck => CrashKind.AlignmentCheck,
            _ => CrashKind.Unknown,
        };
    }

    /// <summary>The registers that the log has.</summary>
    public static KnownRegisters Registers(LogRegisters registers)
    {
        var known = default(KnownRegisters);
        for (int i = 0; i < Names.Length; i++)
        {
            if (registers.Values.TryGetValue(Names[i], out ulong value))
                known[(Gpr)i] = value;
        }

        return known;
    }

    /// <summary>A hexadecimal number with or without 0x; null where it is none.</summary>
    public static ulong? Hex(string? text)
    {
        ReadOnlySpan<char> digits = text;
        if (digits.StartsWith("0x", StringComparison.OrdinalIgnoreCase))
            digits = digits[2..];
        return ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong value) ? value : null;
    }

    private static CrashKind PageFault(LogReport report, ulong? error, ref FaultAccess? access, ref ulong? address, ref AccessKind kind)
    {
        LogFrame? at = report.Main?.Registers?.Instruction;
        ulong? cr2 = address;
        if (address is null && report.Main?.Registers?.Values.TryGetValue("cr2", out ulong stored) == true)
            address = cr2 = stored;

        // A fetch faults at the address itself: there is no instruction to decode.
        bool fetch = kind == AccessKind.Execute || (at?.Address is { } rip && rip == cr2);
        if (fetch)
            kind = AccessKind.Execute;
        else
            access = Decode(report, cr2, error);
        AddressClass? looks = access?.Class?.Class ?? (address is { } a ? ClassifiedAddress.Of(a, null).Class : report.Fact("null") is not null ? AddressClass.Null : null);
        if (access is { Kind: AccessKind.Read or AccessKind.Write })
            kind = access.Kind;
        bool isReadOnly = kind == AccessKind.Write && error is { } bits && (bits & 1) != 0 && address is { } target && new VirtualAddress(target).IsKernelHalf;
        return CrashKinds.OfAccess(kind, looks, isReadOnly);
    }

    /// <summary>From the page fault's error code (arch/x86/include/asm/trap_pf.h: bit 1 write, bit 4 instruction fetch), or what the kernel made of it.</summary>
    private static AccessKind Worded(LogReport report, ulong? error)
    {
        if (report.Kind == LogReportKind.PageFault && error is { } bits)
            return (bits & 0x10) != 0 ? AccessKind.Execute : (bits & 2) != 0 ? AccessKind.Write : AccessKind.Read;
        return report.Fact("access") switch
        {
            "execute" => AccessKind.Execute,
            "write" => AccessKind.Write,
            "read" => AccessKind.Read,
            _ => AccessKind.None,
        };
    }

    private static FaultAccess? Decode(LogReport report, ulong? faultAddress, ulong? error)
    {
        if (report.Main?.Registers is not { CodeAt: >= 0 } registers)
            return null;
        ulong? gs = registers.Values.TryGetValue("gs_base", out ulong value) ? value : null;
        ulong ip = CodeBase + (ulong)registers.CodeAt;
        return FaultDecoder.Decode(new CodeBytes(CodeBase, registers.Code), ip, Registers(registers), gs, faultAddress, error);
    }
}
