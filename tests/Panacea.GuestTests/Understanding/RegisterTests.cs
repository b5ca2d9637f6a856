using Iced.Intel;
using Panacea.GuestTests.Harness;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>Registers of outer frames and the analysis of machine code, on text that the running kernel has patched.</summary>
public abstract class RegisterTests(SharedGuest shared)
{
    private const int Rounds = 10;

    /// <summary>The way into a system call clears RBX, RBP and R12–R15 (PUSH_AND_CLEAR_REGS, arch/x86/entry/calling.h). So whatever the functions in between have saved where, undoing
    /// all of it from a waiting task's frames must end in zeros.</summary>
    [Fact]
    public async Task Registers_of_every_waiting_system_call_lead_back_to_its_entry()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        List<string> wrong = [];
        int recovered = 0, calls = 0;
        for (int round = 0; round < Rounds; round++)
        {
            (wrong, recovered, calls) = KernelView.Settled(() => Recover(view));
            if (wrong.Count == 0)
                break;
        }

        Assert.True(wrong.Count == 0, string.Join('\n', wrong.Take(10)));
        Assert.True(calls >= 5, $"{calls} tasks wait in a system call");
        Assert.Equal(calls, recovered);
    }

    /// <summary>At nearly every call of the kernel it can be proved where the caller's registers are.</summary>
    [Fact]
    public async Task Nearly_every_call_site_can_be_analysed()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        RepairImage image = view.Image;
        var map = new CodeMap(image);
        Assert.True(image.ControlFlowAt(image.Meta.TextStart)?.Count > 1000, "jump labels and exception fixups");
        int sites = 0, located = 0, index = 0;
        var declined = new List<string>();
        foreach ((ulong address, char type, string name) in image.EnumerateSymbols())
        {
            if (type is not ('t' or 'T') || name.Contains(".cold", StringComparison.Ordinal) || index++ % 20 != 0
                || !map.TryFindFunction(address, out FunctionParts parts) || parts.Main.Start != address)
                continue;
            foreach (ulong site in Calls(image, parts.Main))
            {
                // Entry code and the like has rows of another kind, or none: no function's frame stands there.
                if (!image.TryFind(site - 1, out var row) || row.Type != Formats.Orc.OrcType.Call)
                    continue;
                sites++;
                if (PrologueAnalysis.TryLocate(image, parts, CodePoint.Return(site), image, map, out RegisterLocations found, out Decline why)
                    && found.CalleeSaved.All(l => l.Place != RegisterPlace.Lost))
                    located++;
                else
                    declined.Add($"{name}: {why}");
            }
        }

        Assert.True(sites > 1000, $"{sites} call sites");
        Assert.True(located > sites * 0.99, $"{located} of {sites}: {string.Join("; ", declined.Take(20))}");
    }

    private static IEnumerable<ulong> Calls(RepairImage image, FunctionRange range)
    {
        byte[] bytes = new byte[Math.Min(range.Length, 64 << 10)];
        if (!image.TryReadCode(range.Start, bytes))
            yield break;
        var decoder = Decoder.Create(64, new ByteArrayCodeReader(bytes), range.Start);
        while (decoder.IP < range.End)
        {
            decoder.Decode(out Instruction instruction);
            if (instruction.IsInvalid)
                yield break;
            if (instruction.Mnemonic == Mnemonic.Call)
                yield return instruction.NextIP;
        }
    }

    private static (List<string> Wrong, int Recovered, int Calls) Recover(KernelView view)
    {
        LinuxKernel kernel = view.Kernel;
        var map = new CodeMap(view.Image);
        ulong frameSize = (ulong)view.Image.Types.SizeOf("inactive_task_frame");
        var wrong = new List<string>();
        int recovered = 0, calls = 0;
        foreach (LinuxTask task in Tasks.Enumerate(kernel, TargetLimits.Default).Where(t => t.Pid != 0))
        {
            ulong sp = kernel.Read(task.Address, "task_struct.thread.sp");
            KnownRegisters saved = default;
            foreach ((Gpr register, string member) in ((Gpr, string)[])[(Gpr.Rbx, "bx"), (Gpr.Rbp, "bp"), (Gpr.R12, "r12"), (Gpr.R13, "r13"), (Gpr.R14, "r14"), (Gpr.R15, "r15")])
                saved[register] = kernel.Read(sp, $"inactive_task_frame.{member}");
            var stacks = new StackMap([.. Stacks.Of(kernel, null, task.Address).Select(s => new StackBounds(s.Start, s.End, StackKind.Task))]);
            var start = UnwindStart.Inactive(kernel.Read(sp, "inactive_task_frame.ret_addr"), unchecked(sp + frameSize), saved, isNew: false);
            Backtrace trace = new OrcUnwinder(view.Image, map, view.Image, kernel.Space, stacks, TargetLimits.Default).Unwind(start);
            if (trace.End != UnwindEnd.UserMode || !(view.Image.Symbolize(trace.Frames[^1].Ip)?.Name.StartsWith("entry_SYSCALL_64", StringComparison.Ordinal) ?? false))
                continue;
            var analysis = new FrameAnalysis(view.Image, map, view.Image, new GuestStack(kernel.Space, stacks), map, map);
            bool known = FrameRegisters.TryRecover(analysis, trace.Frames, trace.Frames.Count - 1, out KnownRegisters registers, out Decline why);

            // It ran in the meantime: what was read belongs to no one moment.
            if (kernel.Read(task.Address, "task_struct.on_cpu") != 0 || kernel.Read(task.Address, "task_struct.thread.sp") != sp)
                continue;
            calls++;
            if (!known)
                wrong.Add($"{task.Pid}: {why}");
            else if (KnownRegisters.CalleeSaved.ToArray().FirstOrDefault(r => registers[r] != 0, Gpr.Rax) is var bad and not Gpr.Rax)
                wrong.Add($"{task.Pid}: {bad} is 0x{registers[bad]:x}");
            else
                recovered++;
        }

        return (wrong, recovered, calls);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class RegisterTests61(Guest61 guest) : RegisterTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class RegisterTests612(Guest612 guest) : RegisterTests(guest);
