using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>What time it is in the guest, and how busy it has been.</summary>
/// <param name="Jiffies">jiffies_64: timer ticks since 300 seconds' worth before it would wrap in 32 bits.</param>
/// <param name="Hz">Ticks a second (CONFIG_HZ); null where it can't be told.</param>
/// <param name="MonotonicNs">Nanoseconds that the guest has run (CLOCK_MONOTONIC) as of the last tick; null where it can't be told.</param>
/// <param name="BoottimeNs">As <paramref name="MonotonicNs"/>, with suspended time (CLOCK_BOOTTIME, what /proc/uptime shows).</param>
/// <param name="RealtimeNs">Nanoseconds since 1970 (CLOCK_REALTIME) as of the last tick.</param>
/// <param name="LoadAverage">Load of 1, 5 and 15 minutes as /proc/loadavg shows it, not rounded; empty where it can't be told.</param>
public sealed record KernelClock(ulong Jiffies, int? Hz, ulong? MonotonicNs, ulong? BoottimeNs, ulong? RealtimeNs, IReadOnlyList<double> LoadAverage)
{
    /// <summary>FSHIFT: fraction bits of avenrun (include/linux/sched/loadavg.h).</summary>
    private const double FixedPoint = 1 << 11;

    /// <summary>NTP_SCALE_SHIFT: fraction bits of timekeeper.ntp_tick (include/linux/timex.h).</summary>
    private const int NtpScaleShift = 32;

    /// <summary>Reads the clock. The tick may be running meanwhile: the parts may be one tick apart.</summary>
    /// <exception cref="KernelShapeException">The kernel has no jiffies.</exception>
    /// <exception cref="GuestMemoryException">They can't be read.</exception>
    public static KernelClock Read(LinuxKernel kernel)
    {
        ulong jiffies = kernel.ReadSymbolU64("jiffies_64");
        int? hz = null;
        ulong? monotonic = null, boottime = null, realtime = null;
        if (TryFindTimekeeper(kernel, out ulong timekeeper))
        {
            // ntp_tick is the length of a tick in nanoseconds, corrected by at most 500 ppm (kernel/time/ntp.c).
            ulong tick = kernel.Read(timekeeper, "timekeeper.ntp_tick") >> NtpScaleShift;
            hz = tick is >= 100_000 and <= 20_000_000 ? (int)((1_000_000_000 + (tick / 2)) / tick) : null;
            uint shift = kernel.ReadU32(timekeeper, "timekeeper.tkr_mono.shift");
            ulong fraction = shift < 64 ? kernel.Read(timekeeper, "timekeeper.tkr_mono.xtime_nsec") >> (int)shift : 0;
            ulong now = unchecked(kernel.Read(timekeeper, "timekeeper.tkr_mono.base") + fraction);
            monotonic = now;
            boottime = unchecked(now + kernel.Read(timekeeper, "timekeeper.offs_boot"));
            realtime = unchecked(now + kernel.Read(timekeeper, "timekeeper.offs_real"));
        }

        double[] load = [];
        if (kernel.Image.TryFindSymbol("avenrun", out ulong average))
            load = [.. Enumerable.Range(0, 3).Select(i => kernel.ReadU64(average + ((ulong)i * 8), "avenrun") / FixedPoint)];
        return new KernelClock(jiffies, hz, monotonic, boottime, realtime, load);
    }

    /// <summary>A span of jiffies in nanoseconds; null where the tick is unknown.</summary>
    public ulong? ToNs(ulong jiffies) => Hz is { } hz ? (ulong)((UInt128)jiffies * 1_000_000_000 / (ulong)hz) : null;

    /// <summary>The clock that the kernel keeps its time by, as the timekeeper read it last, at most some ticks ago; null where it can't be asked.</summary>
    public static ClockReading? LastReading(LinuxKernel kernel)
    {
        const int longest = 32;
        try
        {
            return TryFindTimekeeper(kernel, out ulong timekeeper) && kernel.Read(timekeeper, "timekeeper.tkr_mono.clock") is > 0 and var clock
                && kernel.Space.TryReadString(new VirtualAddress(kernel.Read(clock, "clocksource.name")), longest, out string name, out _)
                ? new ClockReading(kernel.Read(clock, "clocksource.read"), kernel.Read(timekeeper, "timekeeper.tkr_mono.cycle_last"), name.StartsWith("tsc", StringComparison.Ordinal)) : null;
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return null;
        }
    }

    /// <summary>The timekeeper has no type of its own to find it by in tk_core up to 6.12, but its shadow has a symbol: the update works in it and then copies (kernel/time/timekeeping.c). From
    /// 6.13 struct tk_data holds both.</summary>
    private static bool TryFindTimekeeper(LinuxKernel kernel, out ulong timekeeper)
    {
        timekeeper = 0;
        if (!kernel.HasMember("timekeeper.ntp_tick"))
            return false;
        if (kernel.Image.TryFindSymbol("shadow_timekeeper", out timekeeper))
            return true;
        if (!kernel.HasMember("tk_data.timekeeper"))
            return false;
        bool found = kernel.Image.TryFindSymbol("timekeeper_data", out timekeeper) || kernel.Image.TryFindSymbol("tk_core", out timekeeper);
        timekeeper = unchecked(timekeeper + kernel.Offset("tk_data.timekeeper"));
        return found;
    }
}
