using Panacea.Target;
using Panacea.TestKit.Dumps;

namespace Panacea.TestKit.Linux;

public sealed partial class SyntheticKernel
{
    /// <summary>What the __percpu pointer crash_notes holds: past the per-CPU variables.</summary>
    private const ulong CrashNotesOffset = 0xe000;

    /// <summary>A CPU's buffer for them.</summary>
    public ulong CrashNoteOf(int cpu) => PerCpuBase(cpu) + CrashNotesOffset;

    /// <summary>A CPU saves its registers for a crash kernel (crash_save_cpu()).</summary>
    public void SaveForCrashKernel(int cpu, VcpuRegisters registers)
    {
        WriteU64(this["crash_notes"], CrashNotesOffset);
        Write(CrashNoteOf(cpu), new DumpNotes().AddStatus(1, registers).Build());
    }
}
