using System.Text;
using Panacea.Formats.ConsoleLog;

namespace Panacea.Formats.Tests.ConsoleLog;

public sealed class ConsoleLogReaderTests
{
    private static readonly string[] Oops =
    [
        "BUG: kernel NULL pointer dereference, address: 0000000000000010", "#PF: supervisor write access in kernel mode", "#PF: error_code(0x0002) - not-present page", "Oops: 0002 [#1] PREEMPT SMP NOPTI",
        "CPU: 1 PID: 135 Comm: a Tainted: P b Tainted: G        W  OE      6.1.0-41-amd64 #1  Debian 6.1.158-1", "Hardware name: QEMU", "RIP: 0010:f.cold+0x15/0x30 [m]", "Code: 31 c0 <c7> 40 10 2a 00 00 00 c3",
        "RSP: 0018:ffffb12b004c3b58 EFLAGS: 00010282", "RAX: 0000000000000001 RBX: 0000000000000002 RCX: 0000000000000003", "R13: 0000000000000004 R14: 0000000000000005 R15: 0000000000000006",
        "FS:  000000000e2a53c0(0000) GS:ffff88ba5e100000(0000) knlGS:0000000000000000", "CR2: ffffffffffffffd6 CR3: 0000000106a1e004 CR4: 00000000007706e0", "Call Trace:", " <IRQ>", " g+0x1/0x2", " ? h+0x3/0x4 [m 0123456789abcdef]", " </IRQ>",
        " <TASK>", " asm_sysvec_apic_timer_interrupt+0x16/0x20", "RIP: 0010:i+0x5/0x6", "RSP: 0018:ffffb12b004c3b00 EFLAGS: 00010202", "RAX: 00000000000000ff RBX: 00000000000000ff RCX: 00000000000000ff", " entry+0x7/0x8", "RIP: 0033:0x47b7a0", "Code: 40 <48> 3d",
        " </TASK>", "Modules linked in: m(OE) n o(E+) [last unloaded: p]", "CR2: 0000000000000010", "---[ end trace 0000000000000000 ]---", "RIP: 0010:first+0x1/0x2", "RAX: 00000000000000ee RBX: 00000000000000ee RCX: 00000000000000ee",
    ];

    [Fact]
    public void An_oops_is_taken_apart()
    {
        LogReport report = Assert.Single(Read(Oops));
        Assert.Equal(LogReportKind.PageFault, report.Kind);
        Assert.True(report.IsComplete);
        Assert.Equal(("0000000000000010", "write", "0002"), (report.Fact("address"), report.Fact("access"), report.Fact("error")));
        LogBlock main = report.Main!;
        Assert.Equal(new LogIdentity(1, 135, "a Tainted: P b", "WOE", "6.1.0-41-amd64", "#1 Debian 6.1.158-1"), main.Identity);
        Assert.Equal(("QEMU", new LogModule("m", "OE"), 3), (report.Hardware, report.Modules[0], report.Modules.Count));
        LogRegisters registers = main.Registers!;
        Assert.Equal(3, registers.CodeAt - -1);
        Assert.Equal([0x31, 0xc0, 0xc7], registers.Code[..3]);
        Assert.Equal((1UL, 3UL, 6UL, 0xffffb12b004c3b58UL, 0x10282UL), (registers.Values["rax"], registers.Values["rcx"], registers.Values["r15"], registers.Values["rsp"], registers.Values["rflags"]));
        // What the kernel writes last is the address that the trap reported.
        Assert.Equal((0x10UL, 0xffff88ba5e100000UL), (registers.Values["cr2"], registers.Values["gs_base"]));
        Assert.Equal(
            ["f.cold+0x15/0x30 [m]", "g+0x1/0x2", "h+0x3/0x4 [m]", "asm_sysvec_apic_timer_interrupt+0x16/0x20", "i+0x5/0x6", "entry+0x7/0x8"], main.Frames.Select(f => f.ToString()));
        Assert.Equal([true, true, false, true, true, true], main.Frames.Select(f => f.Reliable));
        Assert.Equal(["IRQ", "IRQ", "IRQ", "TASK", "TASK", "TASK"], main.Frames.Select(f => f.Section));
        Assert.Equal([0, 4], main.Frames.Select((f, i) => (f, i)).Where(f => f.f.IsTrap).Select(f => f.i));
    }

    /// <summary>A kernel with a crash kernel says so behind the name of the task (lib/dump_stack.c), in a place where nothing else stands.</summary>
    [Theory]
    [InlineData("sh Kdump: loaded Tainted: G           OE     ", "sh", "OE")]
    [InlineData("a Kdump: b Kdump: loaded Not tainted", "a Kdump: b", "none")]
    [InlineData("Kdump: loaded Not tainted", "Kdump: loaded", "none")]
    public void The_name_of_a_task_ends_before_the_word_of_a_crash_kernel(string says, string comm, string taint)
    {
        LogReport report = Assert.Single(Read([.. Oops[..4], $"CPU: 1 PID: 135 Comm: {says} 6.1.0-41-amd64 #1", .. Oops[5..]]));
        Assert.Equal((comm, taint, "6.1.0-41-amd64"), (report.Main!.Identity!.Comm, report.Main.Identity.Taint, report.Main.Identity.Release));
    }

    [Fact]
    public void A_lock_that_nobody_acquires_is_no_error()
    {
        LogReport report = Assert.Single(Read(["WARNING: possible circular locking dependency detected", "6.1.0 #1 Not tainted", " is trying to acquire lock:", "ffff (&a){+.+.}-{3:3}, at: f+0x1/0x2"]));
        Assert.Equal(("", "(&a){+.+.}-{3:3}, at: f+0x1/0x2"), (report.Fact("comm") ?? "", report.Fact("wants")));
    }

    [Fact]
    public void Reports_follow_each_other() => Assert.Equal(3, Read([.. Oops, "something else", .. Oops, .. Oops]).Count);

    [Fact]
    public void A_log_that_goes_on_for_ever_costs_what_its_limits_allow()
    {
        FormatLimits limits = FormatLimits.Default with { MaxLogReports = 5, MaxLogReportLines = 10 };
        IReadOnlyList<LogReport> reports = new ConsoleLogReader(limits).Read(new Repeated(string.Join('\n', Oops) + "\n", 200), out LogStatistics statistics);
        Assert.Equal((5, 195), (reports.Count, statistics.DroppedReports));
        Assert.All(reports, r => Assert.True(r.Lines.Count == 10 && r.IsTruncated));
    }

    [Fact]
    public void Many_writers_at_once_are_bounded()
    {
        var lines = new List<string>();
        for (int i = 0; i < 1000; i++)
            lines.Add($"[    1.000000][ T{i}] " + Oops[0]);
        IReadOnlyList<LogReport> reports = Read([.. lines]);
        Assert.Equal(1000, reports.Count);
        Assert.All(reports, r => Assert.False(r.IsComplete));
    }

    [Fact]
    public void Any_bytes_are_a_log()
    {
        byte[] noise = new byte[200_000];
        new Random(1).NextBytes(noise);
        Assert.Empty(new ConsoleLogReader(FormatLimits.Default).Read(new StreamReader(new MemoryStream(noise), Encoding.UTF8), out _));
    }

    private static IReadOnlyList<LogReport> Read(string[] lines) =>
        new ConsoleLogReader(FormatLimits.Default).Read(new StringReader(string.Join('\n', lines)), out _);

    /// <summary>A text again and again, without holding it.</summary>
    private sealed class Repeated(string text, int times) : TextReader
    {
        private int _at, _done;

        public override int Read(char[] buffer, int index, int count)
        {
            if (_done == times)
                return 0;
            int length = Math.Min(count, text.Length - _at);
            text.CopyTo(_at, buffer, index, length);
            _at += length;
            if (_at == text.Length)
                (_at, _done) = (0, _done + 1);
            return length;
        }
    }
}
