using System.Globalization;
using Panacea.Kernel.Code;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>A function that returns at once, because a jump at its entry makes it.</summary>
/// <param name="Function">Its symbol.</param>
/// <param name="Module">The module it is of; null for the kernel's own.</param>
/// <param name="Entry">Guest-virtual address of the function.</param>
/// <param name="Jump">Guest-virtual address of the jump, which has taken the place of a NOP.</param>
/// <param name="Stub">Guest-virtual address of the code that returns.</param>
/// <param name="Value">What it returns, sign-extended; of no meaning for a function that returns nothing.</param>
public sealed record Fuse(string Function, string? Module, ulong Entry, ulong Jump, ulong Stub, int Value)
{
    /// <summary>The function as lists print it: <c>name [module]</c>.</summary>
    public string Name => Module is null ? Function : $"{Function} [{Module}]";
}

/// <summary>Finds fuses in a guest's text: they are nowhere else on record, so that whoever looks finds those of any guard.</summary>
public static class Fuses
{
    /// <summary>Bytes of text that are read at once.</summary>
    private const int Chunk = 1 << 20;

    /// <summary>Every fuse of a guest, by address.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="missing">Text that could not be read, in sentences.</param>
    public static IReadOnlyList<Fuse> Enumerate(LinuxKernel kernel, ICollection<string> missing)
    {
        var fuses = new List<Fuse>();
        foreach (string? module in (IEnumerable<string?>)[null, .. kernel.Image.Meta.Modules.Select(m => m.Name)])
        {
            byte[] window = [];
            ulong start = 0;
            bool isRead = false;
            ulong last = 0;
            foreach ((ulong address, char type, string name) in kernel.Image.EnumerateSymbols(module))
            {
                // Aliases share an address: one of them is enough.
                if (type is not ('t' or 'T' or 'w' or 'W') || address == last || !kernel.Image.IsText(address))
                    continue;
                last = address;
                if (address < start || unchecked(address - start) + FuseCode.EntryBytes > (ulong)window.Length)
                {
                    (start, window) = (address, Window(kernel, address));
                    isRead = window.Length > 0 && kernel.Space.TryRead(new VirtualAddress(start), window, out _);
                    if (!isRead)
                    {
                        window = new byte[Math.Min(FuseCode.EntryBytes, window.Length)];
                        isRead = window.Length == FuseCode.EntryBytes && kernel.Space.TryRead(new VirtualAddress(start), window, out _);
                    }
                }

                if (!isRead)
                {
                    missing.Add($"the code of {name} can't be read");
                    continue;
                }

                if (TryRead(kernel, window.AsSpan((int)(address - start)), address, name, module, out Fuse? fuse))
                    fuses.Add(fuse!);
            }
        }

        return fuses;
    }

    /// <summary>The fuse of one function.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="entry">Address of the function.</param>
    /// <returns>Null where it has none, or its code can't be read.</returns>
    public static Fuse? Of(LinuxKernel kernel, ulong entry)
    {
        Span<byte> code = stackalloc byte[FuseCode.EntryBytes];
        return kernel.Image.Symbolize(entry) is { Offset: 0 } at && kernel.Space.TryRead(new VirtualAddress(entry), code, out _)
            && TryRead(kernel, code, entry, at.Name, at.Module, out Fuse? fuse) ? fuse : null;
    }

    /// <summary>An address lies in the code of some fuse that returns, where the text was fill.</summary>
    public static bool IsStub(LinuxKernel kernel, ulong address)
    {
        Span<byte> code = stackalloc byte[FuseCode.StubBytes];
        for (ulong back = 0; back < FuseCode.StubBytes; back++)
        {
            ulong start = unchecked(address - back);
            if (kernel.Space.TryRead(new VirtualAddress(start), code, out _) && FuseCode.TryReadStub(code, out _) && WasFill(kernel, start))
                return true;
        }

        return false;
    }

    /// <summary>A place for the code that returns a value: code that does so already, of a fuse that is or was, or else fill of the kernel's own text. Modules lie near enough to it, and may go.</summary>
    /// <param name="kernel">The kernel over the guest's memory as it is now.</param>
    /// <param name="value">The value.</param>
    /// <returns>0 where there is none.</returns>
    public static ulong FindRoom(LinuxKernel kernel, int value)
    {
        const int Step = 1 << 16;
        byte[] code = new byte[Step], stub = FuseCode.Stub(value);
        ulong room = 0;
        for (ulong at = kernel.Image.Meta.TextStart; at < kernel.Image.Meta.TextEnd; at += Step)
        {
            Span<byte> now = code.AsSpan(0, (int)Math.Min(Step, kernel.Image.Meta.TextEnd - at));
            if (!kernel.Space.TryRead(new VirtualAddress(at), now, out _))
                continue;
            if (now.IndexOf(stub) is > 0 and var same && WasFill(kernel, at + (ulong)same))
                return at + (ulong)same;
            if (room == 0 && FuseCode.FindRoom(now) is >= 0 and var free && WasFill(kernel, at + (ulong)free))
                room = at + (ulong)free;

            // Fuses take the first room there is: behind it there is no code of theirs.
            if (room != 0)
                break;
        }

        return room;
    }

    /// <summary>A value as a person reads it: an errno by its name.</summary>
    public static string Shown(int value) => value is < 0 and >= -4095 && Errnos.Name(-value) is { } name ? $"-{name}" : value.ToString(CultureInfo.InvariantCulture);

    private static byte[] Window(LinuxKernel kernel, ulong start)
    {
        ulong end = start >= kernel.Image.Meta.TextStart && start < kernel.Image.Meta.TextEnd ? kernel.Image.Meta.TextEnd
            : kernel.Image.ModuleOf(start)?.Memory.Where(m => unchecked(start - m.Start) < m.Size).Select(m => m.Start + m.Size).FirstOrDefault() ?? 0;
        return end > start ? new byte[(int)Math.Min(Chunk, end - start)] : [];
    }

    /// <summary>A jump of others (a live patch, an optimised probe) leads elsewhere: only into fill of the kernel's text does nobody else jump.</summary>
    private static bool TryRead(LinuxKernel kernel, ReadOnlySpan<byte> code, ulong address, string name, string? module, out Fuse? fuse)
    {
        fuse = null;
        if (code.Length < FuseCode.EntryBytes)
            return false;
        int offset = FuseCode.OffsetOfNop(code);
        ulong jump = address + (ulong)offset;
        Span<byte> stub = stackalloc byte[FuseCode.StubBytes];
        if (!FuseCode.TryReadJump(code[offset..], jump, out ulong target) || target < kernel.Image.Meta.TextStart || target >= kernel.Image.Meta.TextEnd
            || !kernel.Space.TryRead(new VirtualAddress(target), stub, out _) || !FuseCode.TryReadStub(stub, out int value) || !WasFill(kernel, target))
            return false;
        fuse = new Fuse(name, module, address, jump, target, value);
        return true;
    }

    /// <summary>The bytes before a fuse's code are fill, and so was it when the image was made, unless the fuse is older than the image.</summary>
    private static bool WasFill(LinuxKernel kernel, ulong stub)
    {
        Span<byte> before = stackalloc byte[4 + FuseCode.StubBytes];
        if (!kernel.Image.TryReadCode(stub - 4, before))
            return false;
        ReadOnlySpan<byte> own = before[4..];
        return before[..4].IndexOfAnyExcept((byte)0xcc) < 0 && (own.IndexOfAnyExcept((byte)0xcc) < 0 || FuseCode.TryReadStub(own, out _));
    }
}
