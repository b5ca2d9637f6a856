using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Linux;

public sealed partial class SyntheticKernel
{
    /// <summary>Where entry areas begin.</summary>
    private const ulong EntryAreas = 0xffff_fe00_0000_1000;

    /// <summary>A CPU's entry area (struct cpu_entry_area): the newer line shuffles them.</summary>
    public ulong EntryArea(int cpu) => EntryAreas + ((ulong)(IsNewer ? Options.Cpus - 1 - cpu : cpu) * (ulong)Types.SizeOf("cpu_entry_area"));

    /// <summary>Maps entry areas and fills in what each CPU enters the kernel by.</summary>
    private void MakeEntryAreas()
    {
        for (int cpu = 0; cpu < Options.Cpus; cpu++)
        {
            ulong area = EntryArea(cpu), table = PerCpu("gdt_page", cpu), state = PerCpu("cpu_tss_rw", cpu), exceptions = area + Types.Offset("cpu_entry_area.estacks");
            for (ulong at = 0; at < (ulong)Types.SizeOf("cpu_entry_area"); at += 4096)
            {
                ulong behind = at == Types.Offset("cpu_entry_area.gdt") ? table : at == Types.Offset("cpu_entry_area.tss") ? state : Allocate(4096, 4096);
                Tables.Map(area + at, Physical(behind), access: PageAccess.Writable | PageAccess.NoExecute);
            }

            if (IsNewer)
                WriteU64(PerCpu("_cea_offset", cpu), (ulong)(Options.Cpus - 1 - cpu));
            WriteU64(PerCpu("cea_exception_stacks", cpu), exceptions);
            ulong place = area + Types.Offset("cpu_entry_area.tss");
            ulong[] descriptors =
            [
                0, 0x00cf_9b00_0000_ffff, 0x00af_9b00_0000_ffff, 0x00cf_9300_0000_ffff, 0x00cf_fb00_0000_ffff, 0x00cf_f300_0000_ffff, 0x00af_fb00_0000_ffff, 0,
                0x0000_8b00_0000_206f | (place & 0xff_ffff) << 16 | (place >> 24 & 0xff) << 56, place >> 32, 0, 0, 0, 0, 0, 0x0040_f500_0000_0000 + (ulong)cpu,
            ];
            for (int entry = 0; entry < descriptors.Length; entry++)
                WriteU64(table + ((ulong)entry * 8), descriptors[entry]);
            Put(state, "tss_struct.x86_tss.sp0", area + Types.Offset("cpu_entry_area.entry_stack_page") + (ulong)Types.SizeOf("entry_stack"));
            string[] stacks = ["DF", "NMI", "DB", "MCE"];
            for (int i = 0; i < stacks.Length; i++)
                WriteU64(state + Types.Offset("tss_struct.x86_tss.ist") + ((ulong)i * 8), exceptions + Types.Offset($"cea_exception_stacks.{stacks[i]}_stack") + 8192);
        }
    }
}
