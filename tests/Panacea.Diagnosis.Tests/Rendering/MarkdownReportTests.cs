using Panacea.Diagnosis.Rendering;

namespace Panacea.Diagnosis.Tests.Rendering;

public class MarkdownReportTests
{
    private static CrashReport Sample() => new()
    {
        Title = "NULL write in crash_c [crashtest]",
        Bucket = "null-write:crashtest:crash_c",
        Kind = CrashKind.NullWrite,
        Cause = "crash_c wrote through a NULL pointer",
        Context = CrashContext.Process,
        Vcpu = 1,
        Location = new CodeLocation(0xffffffffc0401012, "crash_c", 0x12, 0x30, "crashtest"),
        Fault = new ReportFault("write", 0x10, "NULL + 0x10", "mov dword [rax+0x10], 0x2a", "%rax = 0x0"),
        Task = new ReportTask(0xffff888001234000, 321, 321, "tr`ouble|", "sh -c \x1b[2Jecho", false),
        Stack =
        [
            new ReportFrame(new CodeLocation(0xffffffffc0401012, "crash_c", 0x12, 0x30, "crashtest"), 0xffffc90000123e00, true, true, "task"),
            new ReportFrame(new CodeLocation(0xffffffff81234567, "vfs_write", 0xb7, 0x400, null), 0xffffc90000123e40, false, false, "task"),
        ],
        Registers = new Dictionary<string, ulong> { ["rip"] = 0xffffffffc0401012, ["rax"] = 0, ["rbx"] = 1, ["rcx"] = 2 },
        Taint = "G           OE",
        KernelRelease = "6.1.0-41-cloud-amd64",
        BuildId = "0123abcd",
        Disassembly = ["  ffffffffc0401010: xor eax, eax", "> ffffffffc0401012: mov dword [rax+0x10], 0x2a"],
        Findings = [new Finding("text.pristine", "The faulting code is as it was when the image was built.", ["crc 1234"], Confidence.High)],
        Unavailable = ["the user stack: not mapped"],
    };

    [Fact]
    public void A_report_has_every_section_in_reading_order()
    {
        string text = MarkdownReport.Render(Sample());
        string[] wanted =
        [
            "# NULL write in crash_c \\[crashtest\\]", "crash_c wrote through a NULL pointer.", "`crash_c+0x12/0x30 [crashtest]`",
            "write at `0x0000000000000010`: NULL + 0x10", "vCPU 1, in a process; task ``tr`ouble|``, pid 321", "`6.1.0-41-cloud-amd64`, taint",
            "## Findings", "confidence high", "## Fault", "with `%rax = 0x0`", "## Stack", "## Task", "## Registers", "## What could not be read",
        ];
        int at = 0;
        foreach (string each in wanted)
        {
            int found = text.IndexOf(each, at, StringComparison.Ordinal);
            Assert.True(found >= 0, $"'{each}' is missing, or not after what comes before it, in:\n{text}");
            at = found;
        }
    }

    [Fact]
    public void Frames_found_by_scanning_are_marked_and_the_mark_is_explained()
    {
        string text = MarkdownReport.Render(Sample());
        Assert.Contains("#0     crash_c+0x12/0x30 [crashtest]  (trap)\n#1   ? vfs_write+0xb7/0x400\n", text, StringComparison.Ordinal);
        Assert.Contains("marked `?`", text, StringComparison.Ordinal);
        CrashReport reliable = Sample() with { Stack = [Sample().Stack[0]] };
        Assert.DoesNotContain("marked `?`", MarkdownReport.Render(reliable), StringComparison.Ordinal);
    }

    [Fact]
    public void A_change_of_stack_is_shown()
    {
        ReportFrame[] stack = [Sample().Stack[0] with { Stack = "irq" }, Sample().Stack[1]];
        Assert.Equal("    --- <task> ---", MarkdownReport.StackLines(stack).ElementAt(1));
    }

    [Fact]
    public void What_is_not_known_is_said()
    {
        string text = MarkdownReport.Render(Sample() with { Task = null, Stack = [], Fault = null, Disassembly = [], BuildId = null });
        Assert.Contains("The current task could not be read.", text, StringComparison.Ordinal);
        Assert.Contains("No frame could be read.", text, StringComparison.Ordinal);
        Assert.DoesNotContain("## Fault", text, StringComparison.Ordinal);
    }

    [Fact]
    public void No_control_character_of_the_guest_reaches_the_document() =>
        Assert.DoesNotContain(MarkdownReport.Render(Sample()), c => char.IsControl(c) && c != '\n');
}
