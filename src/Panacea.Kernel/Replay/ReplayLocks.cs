using Panacea.Kernel.Holdings;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>What became of a call that a replay does not execute.</summary>
internal enum CallEnd
{
    /// <summary>It is executed like any other.</summary>
    Executed,

    /// <summary>It has come back.</summary>
    Returned,

    /// <summary>It would wait, or what it does can't be told.</summary>
    Waits,
}

/// <summary>The kernel's functions that take and give back locks, in a replay: they are not executed. A lock that somebody else holds ends the replay.</summary>
internal sealed class ReplayLocks(ReplayInput input, ReplayMemory memory, ReplayCpu cpu)
{
    private static readonly Gpr[] Arguments = [Gpr.Rdi, Gpr.Rsi, Gpr.Rdx];

    private readonly HashSet<ulong> _taken = [];
    private readonly HashSet<ulong> _free = [];
    private readonly Stack<bool?> _interrupts = [];
    private readonly List<(int Frame, ulong Call, ulong Address, bool IsHeld)> _found = [];

    /// <summary>Locks of which nobody could tell which they were, as the replay came by the calls that took them.</summary>
    public IReadOnlyList<(int Frame, ulong Call, ulong Address, bool IsHeld)> Found => _found;

    /// <summary>It has a lock that nobody holds in the guest: whoever crashed there had another one, or had not come this way.</summary>
    public bool HasOneThatIsFree => _free.Count > 0;

    /// <summary>Why the last call did not come back: completes "it …".</summary>
    public string Why { get; private set; } = "";

    /// <summary>A call of a function that takes or gives back something.</summary>
    /// <param name="function">What it does.</param>
    /// <param name="frame">The frame of the crashed stack that it is made in.</param>
    /// <param name="call">Guest-virtual address of the call within that frame's function.</param>
    /// <param name="mayHaveRun">The crashed code may have made this call.</param>
    public CallEnd Handle(LockFunction function, int frame, ulong call, bool mayHaveRun)
    {
        if (function.Kind is HoldingKind.Other or HoldingKind.Journal or HoldingKind.Plug or HoldingKind.Semaphore || function.Counts || function.IsHelper)
            return CallEnd.Executed;
        ulong address = 0;
        if (function.Kind != HoldingKind.Rcu)
        {
            Bits argument = cpu[Arguments[Math.Min(function.Argument, Arguments.Length - 1)]];
            if (!argument.Knows(8))
                return Waits("takes a lock that is not known");
            address = argument.Value;
        }

        return function.Takes ? Take(function, address, frame, call, mayHaveRun) : Give(function, address);
    }

    private CallEnd Take(LockFunction function, ulong address, int frame, ulong call, bool mayHaveRun)
    {
        bool isShared = function.Kind is HoldingKind.Rcu or HoldingKind.RwsemRead or HoldingKind.RwlockRead or HoldingKind.RwlockReadBh;
        if (IsFree(function.Kind, address) is not { } isFree)
            return Waits($"takes a lock at 0x{address:x}, which can't be read");

        // One that the crashed call had taken and nobody could name: it is given back before.
        bool wasTheirs = input.Unproved.Contains((frame, call)) && !_taken.Contains(address);
        if (wasTheirs && !_found.Exists(f => f.Frame == frame && f.Call == call))
            _found.Add((frame, call, address, !isFree));
        bool succeeds = isFree || wasTheirs || input.Released.Contains(address) || (input.KeepsLocks && mayHaveRun && IsTasks(function.Kind, address));
        if (!isShared && _taken.Contains(address))
            succeeds = false;
        if (!succeeds && function.When == TakenWhen.Always)
            return Waits($"waits for the lock at 0x{address:x}, which is held");
        if (!succeeds && !isFree && function.When == TakenWhen.ResultIsZero)
            return Waits($"may wait for the lock at 0x{address:x}, which is held");
        if (succeeds)
        {
            _taken.Add(address);
            if (isFree && !isShared)
                _free.Add(address);
            Count(LockFunctions.PreemptCountOf(function.Kind));
        }

        cpu.ForgetCallerSaved();
        if (function.When != TakenWhen.Always)
            cpu[Gpr.Rax] = Bits.Of(succeeds == (function.When == TakenWhen.ResultIsNotZero) ? 1UL : 0);
        if (function.Interrupts == InterruptChange.Off)
        {
            _interrupts.Push(cpu.Interrupts);
            cpu.Interrupts = false;
        }

        return Return();
    }

    private CallEnd Give(LockFunction function, ulong address)
    {
        _taken.Remove(address);
        _free.Remove(address);
        Count(-LockFunctions.PreemptCountOf(function.Kind));
        cpu.ForgetCallerSaved();
        if (function.Interrupts == InterruptChange.On)
            cpu.Interrupts = true;
        else if (function.Interrupts == InterruptChange.Restored)
            cpu.Interrupts = _interrupts.TryPop(out bool? before) ? before : null;
        return Return();
    }

    private CallEnd Return() => cpu.Return() == StepEnd.Done ? CallEnd.Returned : Waits(cpu.Why);

    private CallEnd Waits(string why)
    {
        Why = why;
        return CallEnd.Waits;
    }

    private void Count(int change)
    {
        if (change != 0 && input.PreemptCount is { } count && memory.Read(count.Address, 4, out Bits now) == ReplayAccess.Done && now.Knows(4))
            memory.Preset(count.Address, 4, unchecked(now.Value + (ulong)change));
    }

    /// <summary>Nothing speaks against that the crashed task holds it: a mutex says who does (kernel/locking/mutex.h).</summary>
    private bool IsTasks(HoldingKind kind, ulong address) =>
        kind != HoldingKind.Mutex || input.Task == 0 || (memory.Read(address, 8, out Bits owner) == ReplayAccess.Done && (owner.Value & ~7UL) == input.Task);

    /// <summary>What the lock's own words say (include/asm-generic/qspinlock_types.h, qrwlock.h; kernel/locking/mutex.h, rwsem.c); null where they can't be read.</summary>
    private bool? IsFree(HoldingKind kind, ulong address)
    {
        if (kind == HoldingKind.Rcu)
            return true;
        bool isLong = kind is HoldingKind.Mutex or HoldingKind.RwsemRead or HoldingKind.RwsemWrite;
        if (memory.Read(address, isLong ? 8 : 4, out Bits word) != ReplayAccess.Done)
            return null;
        ulong value = word.Value & Bits.Mask(isLong ? 8 : 4);
        return kind switch
        {
            HoldingKind.Mutex => (value & ~7UL) == 0,
            HoldingKind.RwsemRead => (value & 1) == 0,
            HoldingKind.RwsemWrite => (value & 1) == 0 && value >> 8 == 0,
            HoldingKind.RwlockWrite or HoldingKind.RwlockWriteBh => value == 0,
            _ => (value & 0xff) == 0,
        };
    }
}
