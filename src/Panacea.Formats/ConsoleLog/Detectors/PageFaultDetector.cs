namespace Panacea.Formats.ConsoleLog.Detectors;

/// <summary>A page fault of the kernel (arch/x86/mm/fault.c: show_fault_oops). Facts: address, access (read, write, execute), "null", "page" (not-present page, permissions violation …), message.</summary>
internal sealed class PageFaultDetector : ReportDetector
{
    private static readonly string[] NullHeads =
        ["BUG: kernel NULL pointer dereference, address: ", "BUG: unable to handle kernel NULL pointer dereference at "];

    private static readonly string[] Heads =
        ["BUG: unable to handle page fault for address: ", "BUG: unable to handle kernel paging request at ", "unable to handle kernel paging request at "];

    public override LogReportKind Kind => LogReportKind.PageFault;

    public override ReportEnd End => ReportEnd.Mark;

    public override bool Starts(string text, List<LogFact> facts)
    {
        foreach (string head in NullHeads)
        {
            if (!Is(text, head))
                continue;
            Add(facts, Address, Word(text, head));
            Add(facts, "null", "yes");
            return true;
        }

        foreach (string head in Heads)
        {
            if (!Is(text, head))
                continue;
            Add(facts, Address, Word(text, head));
            return true;
        }

        if (Is(text, "kernel tried to execute ") || Is(text, "unable to execute userspace code "))
        {
            Add(facts, Message, text);
            Add(facts, Access, "execute");
            return true;
        }

        // "Oops: 0002 [#1]", since 6.10 "Oops: Oops: 0002 [#1]".
        int at = Is(text, "Oops: Oops: ") ? 12 : Is(text, "Oops: ") ? 6 : -1;
        int count = at < 0 ? -1 : text.IndexOf(" [#", at, StringComparison.Ordinal);
        if (count != at + 4 || text.AsSpan(at, 4).ContainsAnyExcept("0123456789abcdef"))
            return false;
        Add(facts, Error, text.AsSpan(at, 4));
        return true;
    }

    public override bool Owns(string text, List<LogFact> facts)
    {
        if (Is(text, "#PF: error_code("))
        {
            Add(facts, Error, Between(text, "error_code(0x", ")"));
            Add(facts, "page", Between(text, " - ", "\n"));
            return true;
        }

        if (Is(text, "#PF: "))
        {
            Add(facts, Access, Has(text, "instruction fetch") ? "execute" : Has(text, "write access") ? "write" : Has(text, "read access") ? "read" : "");
            return true;
        }

        return Is(text, "PGD ") || Is(text, "BAD") || Is(text, "IDT:") || Is(text, "GDT:") || Is(text, "TSS:");
    }

    /// <summary>A second address is a second fault.</summary>
    public override bool Continues(IReadOnlyList<LogFact> had, IReadOnlyList<LogFact> has) =>
        !has.Any(f => f.Name == Address) || !had.Any(f => f.Name == Address);

    private static ReadOnlySpan<char> Word(string text, string head)
    {
        ReadOnlySpan<char> rest = text.AsSpan(head.Length).Trim();
        int end = rest.IndexOf(' ');
        return end < 0 ? rest : rest[..end];
    }
}
