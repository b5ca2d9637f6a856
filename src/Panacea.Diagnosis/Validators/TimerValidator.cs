using System.Buffers.Binary;
using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>Timer wheels (kernel/time/timer.c).</summary>
public sealed class TimerValidator : IValidator
{
    /// <summary>TIMER_CPUMASK, TIMER_MIGRATING and TIMER_ARRAYSHIFT (include/linux/timer.h).</summary>
    private const uint CpuMask = 0x3_ffff, Migrating = 0x4_0000;

    private const int BucketShift = 22;

    /// <inheritdoc/>
    public string Name => "timers";

    /// <inheritdoc/>
    public string Description => "timer wheels: buckets and their map, back-pointers, each timer's CPU and bucket, functions";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        var notes = new CheckNotes(context, "timers");
        foreach (TimerWheel wheel in Timers.Wheels(context.Kernel, context.Limits))
        {
            notes.Count("wheels");
            string where = $"the {wheel.Name} wheel of CPU {wheel.Cpu}";
            if (wheel.Timers.Broken is { } broken)
                notes.Structure($"{where} does not hold together", broken);
            foreach (KernelTimer timer in wheel.Timers.Items)
            {
                if (!notes.Count("timers"))
                    break;
                string who = $"the timer at 0x{timer.Address:x} in {where}";
                if ((timer.Flags & Migrating) == 0 && (timer.Flags & CpuMask) != (uint)wheel.Cpu)
                    notes.Found("cpu", Confidence.High, $"{who} says that it belongs to CPU {timer.Flags & CpuMask}", $"flags 0x{timer.Flags:x}");
                if (timer.Flags >> BucketShift != (uint)timer.Bucket)
                    notes.Found("bucket", Confidence.High, $"{who} lies in bucket {timer.Bucket} and says {timer.Flags >> BucketShift}", $"flags 0x{timer.Flags:x}");
                if (!context.Text.Contains(timer.Function))
                    notes.Found("function", Confidence.High, $"{who} calls 0x{timer.Function:x}, which is no code");
            }

            if (wheel.Timers.IsWhole)
                notes.Guard(where, () => Map(context.Kernel, notes, wheel, where));
        }

        return notes.Done();
    }

    /// <summary>The bit of a bucket is set where, and only where, it has timers (enqueue_timer, detach_if_pending).</summary>
    private static void Map(LinuxKernel kernel, CheckNotes notes, TimerWheel wheel, string where)
    {
        ulong at = unchecked(PerCpu.Address(kernel, "timer_bases", wheel.Cpu) + ((ulong)wheel.Index * (ulong)kernel.Image.Types.SizeOf("timer_base")));
        int buckets = Shapes.Elements(kernel, "timer_base.vectors", 8, 4096);
        byte[] map = new byte[(buckets + 63) / 64 * 8], heads = new byte[buckets * 8];
        kernel.Space.Read(new VirtualAddress(unchecked(at + kernel.Offset("timer_base.pending_map"))), map, "timer_base.pending_map");
        kernel.Space.Read(new VirtualAddress(unchecked(at + kernel.Offset("timer_base.vectors"))), heads, "timer_base.vectors");
        for (int bucket = 0; bucket < buckets; bucket++)
        {
            bool marked = (map[bucket / 8] >> (bucket % 8) & 1) != 0, used = BinaryPrimitives.ReadUInt64LittleEndian(heads.AsSpan(bucket * 8)) != 0;
            if (marked != used)
                notes.Found("map", Confidence.Medium, $"bucket {bucket} of {where} is {(used ? "in use and marked empty: its timers never expire" : "empty and marked as in use")}", $"timer_base 0x{at:x}");
        }

        notes.Count("buckets", buckets);
    }
}
