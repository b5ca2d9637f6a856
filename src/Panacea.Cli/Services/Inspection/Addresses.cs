using System.Globalization;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Addresses as people write them: <c>0x…</c>, sixteen hexadecimal digits, <c>SYMBOL</c>, <c>SYMBOL+0x10</c>, <c>SYMBOL:CPU</c> of a per-CPU variable.</summary>
internal static class Addresses
{
    /// <summary>The address.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="text">What the user wrote.</param>
    /// <param name="physical">It is guest-physical: a number, then.</param>
    /// <exception cref="CliException">It is none, with what to write instead.</exception>
    public static ulong Resolve(LinuxKernel kernel, string text, bool physical = false)
    {
        if (TryNumber(text, out ulong number))
            return number;
        if (physical)
            throw new CliException(ExitCodes.Usage, $"'{text}' is no guest-physical address; write it as 0x…");
        int plus = text.LastIndexOf('+');
        ulong offset = 0;
        if (plus > 0 && !TryOffset(text[(plus + 1)..], out offset))
            throw new CliException(ExitCodes.Usage, $"'{text[plus..]}' is no offset; write it as +0x10 or +16");
        string name = plus > 0 ? text[..plus] : text;
        int colon = name.LastIndexOf(':');
        ulong address = colon > 0 ? OnCpu(kernel, name[..colon], name[(colon + 1)..]) : OfSymbol(kernel.Image, name);
        return unchecked(address + offset);
    }

    private static bool TryNumber(string text, out ulong number)
    {
        number = 0;

        // As crash takes them: kernel addresses without 0x too, for they can't be mistaken.
        ReadOnlySpan<char> digits = text.StartsWith("0x", StringComparison.OrdinalIgnoreCase) ? text.AsSpan(2) : text.Length == 16 ? text : default;
        return digits.Length > 0 && ulong.TryParse(digits, NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out number);
    }

    private static bool TryOffset(string text, out ulong offset) => text.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
        ? ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out offset)
        : ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out offset);

    private static ulong OfSymbol(RepairImage image, string name)
    {
        IReadOnlyList<(ulong Address, char Type, string? Module)> found = image.FindAll(name);
        if (found.Count == 0)
            throw new CliException(ExitCodes.NotFound, $"this guest has no symbol '{name}'; addresses are written as 0x…");
        if (found.DistinctBy(f => f.Address).Count() > 1)
        {
            throw new CliException(
                ExitCodes.Usage, $"there are {found.Count} symbols '{name}': {string.Join(", ", found.Take(8).Select(f => $"0x{f.Address:x}{(f.Module is null ? "" : $" [{f.Module}]")}"))}; give the address of one of them");
        }

        // Zero-based per-CPU symbols are offsets, below every kernel address.
        return found[0].Address >= 0xff00_0000_0000_0000 ? found[0].Address
            : throw new CliException(ExitCodes.Usage, $"'{name}' is a per-CPU variable; write {name}:CPU, such as {name}:0");
    }

    private static ulong OnCpu(LinuxKernel kernel, string name, string cpu)
    {
        if (!kernel.Image.TryFindPerCpuSymbol(name, out _))
            throw new CliException(ExitCodes.NotFound, $"this guest has no per-CPU variable '{name}'");
        IReadOnlyList<ulong> bases = kernel.Image.Meta.PerCpuBases;
        return int.TryParse(cpu, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number < bases.Count && bases[number] != 0
            ? PerCpu.Address(kernel, name, number)
            : throw new CliException(ExitCodes.NotFound, $"this guest has no CPU '{cpu}'; it has {bases.Count(b => b != 0)}, from 0");
    }
}
