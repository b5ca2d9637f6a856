namespace Panacea.Formats.ConsoleLog;

/// <summary>
/// Tells the kernels of a log apart: a serial console that is logged whole goes on into the next boot, and, where kdump is armed, into the crash kernel at once. A kernel begins with its banner; one
/// that was told to be quiet (the banner has the level notice, init/main.c) with time stamps that begin anew.
/// </summary>
/// <param name="limits">Ceilings.</param>
internal sealed class LogBoots(FormatLimits limits)
{
    private const string Banner = "Linux version ";

    /// <summary>Where the header of the dead kernel's memory lies: both kexec-tools and kexec_file_load (arch/x86/kernel/kexec-bzimage64.c) hand it over on the crash kernel's command line.</summary>
    private const string DeadKernel = " elfcorehdr=";

    /// <summary>Stamps that begin anew begin below this. Higher ones fall without a boot too: the clock of a processor that takes no interrupts stands still, and what it then writes has the time at which it
    /// was last seen (captured/6.1-rcu-stall-other). A kernel that says nothing earlier in its boot is not found without its banner.</summary>
    private const ulong MostAtBegin = 1_000_000_000;

    private readonly List<LogBoot> _boots = [];
    private ulong _stamp;
    private bool _isOfDump, _hasReports;

    /// <summary>In the order of the log; the first ones, where there are more than the limits allow.</summary>
    public IReadOnlyList<LogBoot> All => _boots;

    /// <summary>Banners seen.</summary>
    public int Banners { get; private set; }

    /// <summary>Takes a line.</summary>
    /// <returns>Another kernel begins with it: what the one before was writing has ended.</returns>
    public bool Begins(LogLine line)
    {
        // pstore hands out the parts of a dump with the latest first, and names each: "Panic#2 Part1" (fs/pstore/platform.c, pstore_dump).
        _isOfDump |= line.TimestampNs is null && line.Text.IndexOf('#', StringComparison.Ordinal) is > 0 and int number && line.Text.IndexOf(" Part", number, StringComparison.Ordinal) > 0;
        bool begins = line.Text.StartsWith(Banner, StringComparison.Ordinal) ? BeginsWithBanner(line) : BeginsAnew(line);
        _stamp = line.TimestampNs ?? _stamp;
        if (_boots.Count > 0 && !_boots[^1].IsCrashKernel && line.Text.Contains("ommand line: ", StringComparison.Ordinal) && line.Text.Contains(DeadKernel, StringComparison.Ordinal))
            _boots[^1] = _boots[^1] with { IsCrashKernel = true };
        return begins;
    }

    /// <summary>The one that begins a report.</summary>
    /// <param name="line">The report's headline.</param>
    public LogBoot OfReport(LogLine line)
    {
        if (_boots.Count == 0)
            Add(line, null);
        _hasReports = true;
        return _boots[^1];
    }

    private bool BeginsWithBanner(LogLine line)
    {
        Banners++;

        // A few messages may come before the banner, such as the microcode's.
        if (_boots is [.., { Banner: null } quiet] && !_hasReports && _stamp < MostAtBegin && (line.TimestampNs ?? 0) >= _stamp)
        {
            _boots[^1] = quiet with { Banner = line.Text };
            return false;
        }

        Add(line, line.Text);
        return true;
    }

    private bool BeginsAnew(LogLine line)
    {
        if (line.TimestampNs is not { } now)
            return false;
        bool isFirst = _boots.Count == 0;
        if (!isFirst && (_isOfDump || now >= MostAtBegin || _stamp < 2 * MostAtBegin))
            return false;
        Add(line, null);
        return !isFirst;
    }

    private void Add(LogLine line, string? banner)
    {
        // What comes after the last one that is kept counts as its own.
        if (_boots.Count < limits.MaxLogBoots)
            _boots.Add(new LogBoot(_boots.Count, line.Number, banner, false));
        _hasReports = false;
    }
}
