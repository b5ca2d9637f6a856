using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>Whether the kernel has given up already.</summary>
public static class PanicState
{
    /// <summary>What the kernel writes for a CPU that has not died (panic_cpu's PANIC_CPU_INVALID, crashing_cpu's first value).</summary>
    private const uint NoCpu = uint.MaxValue;

    /// <summary>The CPU that called panic() first, or crash_kexec() (kernel/panic.c, panic_cpu), or went into the crash kernel (arch/x86/kernel/reboot.c, crashing_cpu).</summary>
    /// <returns>Null where none did, or the kernel does not tell.</returns>
    public static uint? DeadCpu(LinuxKernel kernel)
    {
        foreach (string symbol in (string[])["panic_cpu", "crashing_cpu"])
        {
            if (kernel.Image.TryFindSymbol(symbol, out ulong address) && kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint cpu, out _) && cpu != NoCpu)
                return cpu;
        }

        return null;
    }

    /// <summary>The kernel has died, or is on its way down: it halts, powers off, restarts or suspends (include/linux/kernel.h, system_state). What its CPUs do then is meant.</summary>
    public static bool IsEnding(LinuxKernel kernel)
    {
        if (DeadCpu(kernel) is not null)
            return true;
        long running = kernel.Image.Types.Btf is { } btf && btf.TryFindEnumerator("SYSTEM_RUNNING", out long value) ? value : 3;
        return kernel.Image.TryFindSymbol("system_state", out ulong address) && kernel.Space.TryReadUInt32(new VirtualAddress(address), out uint state, out _) && state > running;
    }
}
