using Panacea.Diagnosis;
using Panacea.Kernel;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Repair.Strategies;

/// <summary>
/// A disk whose requests do not get on is helped by what the kernel does itself where it knows: the handler of the interrupt that was lost is called, the device is notified once more, requests that nobody has are given
/// to the driver again, a queue that is stopped, or that nobody runs, is started. The CPU stands where it takes its timer tick; it goes to the kernel's function from there, as from any interrupt, and comes back to it. A handler that is called without a
/// need, and a notification too many, do nothing.
/// </summary>
internal static class StalledDisk
{
    private const string Handler = "vring_interrupt", Notify = "virtqueue_notify", Requeue = "blk_mq_requeue_request", Start = "blk_mq_start_stopped_hw_queues", Run = "blk_mq_run_hw_queues", Ring = "virtio_ring";

    /// <summary>A plan for a CPU that stands at the beginning of its timer tick.</summary>
    public static StrategyVerdict Evaluate(CrashEvidence evidence, DiskStall stall)
    {
        try
        {
            string name = stall.Disk.Device.Name;

            // One that waits for another, as a write does for the flush before it, goes on with that one.
            IReadOnlyList<BlockRequest> whole = [.. stall.Requests.Where(r => VirtioDisks.IsWhole(evidence.Kernel, r))];
            bool isOne = whole.Count == 1;
            (string Function, string Done, string Risk, ulong[][] Calls) help = stall.Kind switch
            {
                StallKind.AnswerUnheard => (Handler, $"{name}'s interrupt handler is called for the answers of its device that its driver has not looked at", "what its driver had half done of an answer stays half done", [[0, stall.Queue.Address]]),
                StallKind.RequestUntold => (Notify, $"the device of {name} is notified of the requests that wait for it", "", [[stall.Queue.Address]]),
                StallKind.QueueStopped => (Start, $"the queues of {name}, which its driver has stopped and nobody would start, are started", "", [[stall.Disk.Device.Queue, 1]]),

                StallKind.QueueNotRun => (Run, $"the queues of {name} are run, in which a request at 0x{stall.Waiting.Address:x} waits for its driver, which has none", "", [[stall.Disk.Device.Queue, 1]]),

                // What is done in part waits for another, as a write that is on the disk does for the flush behind it; that one no driver has, but a queue may that nobody runs.
                _ when whole.Count == 0 => (Run, $"the queues of {name} are run: {Part(stall.Requests[0])}, waits for another that its device has not been given", "", [[stall.Disk.Device.Queue, 1]]),
                _ => (Requeue, $"{whole.Count} request{(isOne ? "" : "s")} of {name}, which {(isOne ? "is" : "are")} neither with its device nor done, {(isOne ? "is" : "are")} given to its driver again",
                    "a request that the device had done already is done twice: the same data to or from the same sectors", [.. whole.Select(r => new ulong[] { r.Address, 1 })]),
            };
            if (stall.Kind == StallKind.RequestsLost && whole.Any(r => r.IsComplete) && VirtioDisks.IsCompleting(evidence.Kernel))
                return StrategyVerdict.Declines("a CPU still has requests to complete, and this may be one of them");
            if (!evidence.Kernel.Image.TryFindSymbol(help.Function, out ulong address) && !evidence.Kernel.Image.TryFindModuleSymbol(Ring, help.Function, out address))
                return StrategyVerdict.Declines($"this kernel has no {help.Function}()");
            return StrategyVerdict.Applies(InterruptedCpu.Calls(evidence, help.Function, address, help.Calls) with
            {
                Kind = RepairKind.Heal,
                Explanation = $"{help.Done} ({help.Function}); nothing is lost",
                Lost = [],
                Risks = help.Risk.Length == 0 ? [] : [help.Risk],
            });
        }
        catch (Exception e) when (e is KernelShapeException or GuestMemoryException or OverflowException)
        {
            return StrategyVerdict.Declines($"the disk can't be looked at: {e.Message}");
        }
    }

    private static string Part(BlockRequest request) => $"{request.Operation} of sector {request.Sector} at 0x{request.Address:x}, which is done in part or no READ, WRITE or FLUSH";
}
