using Panacea.Formats.ConsoleLog;

namespace Panacea.Formats.Tests.ConsoleLog;

/// <summary>Which kernel of a log wrote what.</summary>
public sealed class LogBootTests
{
    private const string Banner = "[    0.000000] Linux version 6.1.0 (a@b) (gcc) #1 SMP", CrashCommandLine = "[    0.000000] Command line: console=ttyS0 quiet elfcorehdr=0x14f00000";

    [Fact]
    public void A_banner_begins_another_kernel()
    {
        IReadOnlyList<LogReport> reports = Read([Banner, .. Oops(20), Banner, "[    1.000000] x", .. Oops(30)], out IReadOnlyList<LogBoot> boots);
        Assert.Equal([0, 1], reports.Select(r => r.Boot));
        Assert.Equal([(0, 1L, false), (1, 5L, false)], boots.Select(b => (b.Number, b.Line, b.IsCrashKernel)));
        Assert.All(boots, b => Assert.StartsWith("Linux version 6.1.0", b.Banner, StringComparison.Ordinal));
    }

    [Fact]
    public void A_log_that_begins_later_has_its_first_kernel_before_the_first_banner()
    {
        IReadOnlyList<LogReport> reports = Read([.. Oops(20), Banner, .. Oops(30)], out IReadOnlyList<LogBoot> boots);
        Assert.Equal([(0, null), (1, boots[1].Banner)], reports.Select(r => (r.Boot, r.BannerRelease)));
        Assert.Null(boots[0].Banner);
    }

    [Fact]
    public void What_comes_before_the_first_kernel_is_none()
    {
        Read(["SeaBIOS (version 1.16.2)", "Booting from ROM..", Banner, .. Oops(20)], out IReadOnlyList<LogBoot> boots);
        Assert.Equal(3, Assert.Single(boots).Line);
        Read(["SeaBIOS (version 1.16.2)"], out boots);
        Assert.Empty(boots);
    }

    [Fact]
    public void A_line_before_the_banner_is_of_the_same_kernel()
    {
        Read(["[    0.000000] microcode: updated early", Banner, .. Oops(20), "[    0.000000] microcode: updated early", Banner], out IReadOnlyList<LogBoot> boots);
        Assert.Equal([1L, 6L], boots.Select(b => b.Line));
        Assert.All(boots, b => Assert.NotNull(b.Banner));
    }

    [Theory]
    [InlineData("[    0.000000] Command line: console=ttyS0 elfcorehdr=343412K", true)]
    [InlineData("[    0.057801] Kernel command line: nr_cpus=1 elfcorehdr=0x14f00000", true)]
    [InlineData("[    0.000000] Command line: console=ttyS0 crashkernel=128M", false)]
    [InlineData("[    0.500000] audit: elfcorehdr=1", false)]
    public void A_crash_kernel_is_known_by_its_command_line(string line, bool isCrashKernel)
    {
        Read([Banner, .. Oops(20), Banner, line, "[    1.000000] x"], out IReadOnlyList<LogBoot> boots);
        Assert.Equal([false, isCrashKernel], boots.Select(b => b.IsCrashKernel));
    }

    /// <summary>Quiet kernels print neither their banner nor their command line.</summary>
    [Fact]
    public void Stamps_that_begin_anew_begin_another_kernel()
    {
        IReadOnlyList<LogReport> reports = Read([.. Oops(20), "[    0.412345] x86/cpu: SGX disabled by BIOS.", .. Oops(2)], out IReadOnlyList<LogBoot> boots);
        Assert.Equal([0, 1], reports.Select(r => r.Boot));
        Assert.Equal([1L, 4L], boots.Select(b => b.Line));
    }

    /// <summary>A processor that takes no interrupts writes with the time at which it was last seen.</summary>
    [Theory]
    [InlineData("[    8.152638] a", "[    6.081965] b")]
    [InlineData("[    1.400000] a", "[    0.300000] b")]
    [InlineData("Panic#1 Part2", "[    0.300000] b")]
    public void Stamps_that_fall_otherwise_do_not(params string[] lines)
    {
        Read(["[   20.000000] a", .. lines], out IReadOnlyList<LogBoot> boots);
        Assert.Single(boots);
    }

    [Fact]
    public void A_report_ends_where_another_kernel_begins()
    {
        LogReport report = Assert.Single(Read([.. Oops(20), Banner, CrashCommandLine, "[    0.100000]  g+0x1/0x2"], out _), r => r.Kind == LogReportKind.PageFault);
        Assert.Equal(3, report.Lines.Count);
        Assert.False(report.IsComplete);
    }

    [Fact]
    public void A_log_of_many_boots_is_bounded()
    {
        FormatLimits limits = FormatLimits.Default with { MaxLogBoots = 3 };
        var reader = new ConsoleLogReader(limits);
        IReadOnlyList<LogReport> reports = reader.Read(new StringReader(string.Join('\n', Enumerable.Range(0, 20).SelectMany(_ => (string[])[Banner, .. Oops(20)]))), out LogStatistics statistics);
        Assert.Equal((3, 20, 2), (reader.Boots.Count, statistics.Boots, reports.Max(r => r.Boot)));
    }

    private static string[] Oops(int seconds) =>
    [
        $"[   {seconds:00}.000000] BUG: kernel NULL pointer dereference, address: 0000000000000010", $"[   {seconds:00}.000100] #PF: supervisor write access in kernel mode",
        $"[   {seconds:00}.000200] CPU: 1 PID: 135 Comm: a Not tainted 6.1.0 #1",
    ];

    private static IReadOnlyList<LogReport> Read(string[] lines, out IReadOnlyList<LogBoot> boots)
    {
        var reader = new ConsoleLogReader(FormatLimits.Default);
        IReadOnlyList<LogReport> reports = reader.Read(new StringReader(string.Join('\n', lines)), out _);
        boots = reader.Boots;
        return reports;
    }
}
