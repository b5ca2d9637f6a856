using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>
/// A call that crashed, made again on paper: the code of the guest is executed over a copy of its memory as it is now. Where what made it crash is still there, it crashes again. Where it is gone (a race
/// that is over, a register that had a flipped bit), the call can be made again in the guest, and nothing is lost. What the crashed call has already done must not be done twice: whatever it may have stored before
/// it crashed has to be in memory already, byte for byte, when the replay stores it.
/// </summary>
public sealed partial class CallReplay
{
    /// <summary>Where the kernel gives up, or takes a task out.</summary>
    private static readonly HashSet<string> Deaths =
    [
        "panic", "vpanic", "nmi_panic", "die", "oops_begin", "oops_end", "do_exit", "make_task_dead", "rewind_stack_and_make_dead", "__stack_chk_fail", "fortify_panic", "__fortify_panic", "usercopy_abort", "__warn", "__warn_printk",
        "warn_slowpath_fmt", "refcount_warn_saturate",
    ];

    /// <summary>Where the kernel lets others run if it is time to (kernel/sched/core.c): it comes back.</summary>
    private static readonly HashSet<string> Yields = ["__cond_resched", "__cond_resched_lock", "__cond_resched_rwlock_read", "__cond_resched_rwlock_write", "cond_resched", "yield"];

    /// <summary>Times that it comes by the place of the crash which are kept.</summary>
    private const int MaxPoints = 64;

    /// <summary>Words and the like that its string instructions may move, all together: what takes a CPU no time takes a replay some.</summary>
    private const ulong MaxMoved = 64 * 1024;

    /// <summary>Each makes more of memory unknown than the one before.</summary>
    private const int MaxPasses = 3;

    private readonly ReplayInput _input;
    private readonly CrashPlace _place;
    private readonly Lazy<ClockReading?> _clock;
    private readonly List<ReplayPoint> _points = [];
    private readonly ReplayMemory _memory;
    private readonly ReplayCpu _cpu;
    private readonly ReplayLocks _locks;
    private readonly Dictionary<int, HashSet<ulong>?> _may = [];
    private readonly Dictionary<ulong, string?> _names = [];

    // The innermost frame of the crashed stack whose activation the replay has come to, and the call out of it that has not come back: where it began, and where it comes back to with which stack pointer.
    private int _level, _deepest, _arrivals;
    private (ulong Ip, ulong Next, ulong Sp)? _call;
    private bool _hasPassed, _isCalling, _isNew;

    // The stack pointer with which a call of the stack has led to another function than the stack's.
    private ulong? _goesOnAt;

    private CallReplay(ReplayInput input, IReadOnlySet<ulong>? forgotten = null)
    {
        _input = input;
        _place = CrashPlace.Of(input);
        _clock = new Lazy<ClockReading?>(() => input.Clock?.Invoke());
        _memory = new ReplayMemory(input.Space, input.Cache, input.User) { Forgotten = forgotten };
        _cpu = new ReplayCpu(_memory, input.GsBase, input.Cache) { TimeStamp = () => _clock.Value is { IsTimeStamp: true } clock ? clock.Cycles : null };
        _locks = new ReplayLocks(input, _memory, _cpu);
        _level = _deepest = input.Index;
    }

    /// <summary>Makes the call again.</summary>
    /// <param name="input">What it is made of.</param>
    /// <param name="result">What came of it.</param>
    /// <param name="whyNot">Why it can't be made, where the result is false.</param>
    public static bool TryRun(ReplayInput input, out ReplayResult result, out string whyNot)
    {
        result = null!;
        if (!TryCall(input, out CallSetup setup, out FunctionParts callee, out whyNot))
            return false;
        FunctionParts called = callee;
        result = Run(input, replay => replay.Run(setup, called));
        return true;
    }

    /// <summary>Runs a replay; and once more where it has read what the crashed code may have overwritten since it read it: of that it is not known what it was then. A value that was exchanged is not there any more.</summary>
    private static ReplayResult Run(ReplayInput input, Func<CallReplay, ReplayResult> run)
    {
        HashSet<ulong>? forgotten = null;
        int instructions = 0;
        for (int pass = 1; ; pass++)
        {
            var replay = new CallReplay(input, forgotten);
            ReplayResult result = run(replay);
            instructions += result.Instructions;
            if (result.Verdict != ReplayVerdict.Passes || input.IsRepeatable || replay._memory.Overwritten.Count == 0)
                return result with { Instructions = instructions };
            if (pass == MaxPasses)
                return result with { Verdict = ReplayVerdict.Unknown, Why = "reads what it may have changed before it crashed", Points = [], Instructions = instructions };
            forgotten = [.. forgotten ?? [], .. replay._memory.Overwritten];
        }
    }

    /// <summary>Executes a part of one of the stack's functions again.</summary>
    /// <param name="input">What it is made of; <see cref="ReplayInput.Index"/> is the function's frame.</param>
    /// <param name="start">Guest-virtual address of the first instruction.</param>
    /// <param name="registers">Registers there, as far as they are known; its stack pointer is the frame's.</param>
    /// <param name="isDone">The crashed code has come by here; else it is something new that is executed, which may store what it likes.</param>
    public static ReplayResult RunPart(ReplayInput input, ulong start, in KnownRegisters registers, bool isDone)
    {
        KnownRegisters known = registers;
        ulong stackPointer = input.Frames[input.Index].Sp;
        return Run(input, replay =>
        {
            replay._isNew = !isDone;
            replay.Begin(known, stackPointer);

            // What it keeps in its own frame it keeps there again.
            replay._memory.Scratch.Add((stackPointer, input.Return.Rsp - 8));
            return replay.Run(start, []);
        });
    }

    /// <summary>What registers held at an instruction that the function of <see cref="ReplayInput.Index"/> has come by, as far as it has stored them in its frame since.</summary>
    /// <param name="input">What it is made of.</param>
    /// <param name="start">Guest-virtual address of the instruction.</param>
    /// <param name="end">The instruction that was come to from there and from nowhere else.</param>
    /// <param name="registers">What is known there; gets what is found.</param>
    public static void Learn(ReplayInput input, ulong start, ulong end, ref KnownRegisters registers) =>
        StoredValues.Learn(input, start, end, (input.Frames[input.Index].Sp, input.Return.Rsp - 8), ref registers);

    private ReplayResult Run(CallSetup setup, in FunctionParts callee)
    {
        Begin(_input.Return.CalleeSaved, _input.Return.Rsp);
        List<(Gpr, ulong)> arguments = SetUp(setup, callee);
        _cpu.StackPointer = unchecked(_input.Return.Rsp - 8);
        return Run(callee.Main.Start, arguments);
    }

    private void Begin(in KnownRegisters registers, ulong stackPointer)
    {
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
            _cpu[register] = registers[register] is { } value ? Bits.Of(value) : Bits.None;
        _cpu.StackPointer = stackPointer;
        _cpu.Interrupts = _input.Interrupts;

        // What lies below is nobody's.
        const ulong stack = 16 * 1024;
        _memory.Scratch.Add((unchecked(stackPointer - stack), stackPointer));
        if (_input.Mended is { } mended)
        {
            _memory.Scratch.Add((mended.Address, mended.Address + sizeof(ulong)));
            _memory.Preset(mended.Address, sizeof(ulong), mended.Value);
            _memory.Watched = mended.Address;
        }

        if (_input.PreemptCount is { } count)
        {
            _memory.Scratch.Add((count.Address, count.Address + 4));
            _memory.Preset(count.Address, 4, count.Value);
        }
    }

    private ReplayResult Run(ulong entry, IReadOnlyList<(Gpr, ulong)> arguments)
    {
        _cpu.Ip = entry;
        _cpu.Enter();
        int done = 0;
        for (; done < _input.MaxInstructions && _cpu.Moved <= MaxMoved; done++)
        {
            ulong at = _cpu.Ip;
            if (at == _input.Return.Rip && _cpu.StackPointer == _input.Return.Rsp)
                return End(ReplayVerdict.Passes, at, "comes back", true);
            Follow(at);
            Arrive(at);
            if (!_cpu.TryDecode(out Instruction instruction))
                return End(ReplayVerdict.Crashes, at, "executes what is no code");
            bool goesIn = _call is null && instruction.Mnemonic == Mnemonic.Call && IsCallOfStack(instruction);
            if (!goesIn && _call is null && instruction.Mnemonic == Mnemonic.Call)
                _call = (at, instruction.NextIP, _cpu.StackPointer);
            _cpu.Repeats = !_isNew && MayHaveRun(_call?.Ip ?? at);
            _cpu.AssumesDone = _input.KeepsLocks && !_hasPassed;
            bool isPlace = IsPlace(at, instruction), isBehind = _place.Kind == CrashPlaceKind.Branch || instruction.Mnemonic == Mnemonic.Hlt;
            if (isPlace && !isBehind)
                Note();

            // What time it is behind the place of the crash, the guest will see.
            if (_hasPassed && instruction.Mnemonic is Mnemonic.Rdtsc or Mnemonic.Rdtscp && _cpu.TimeStamp?.Invoke() is null)
                return End(ReplayVerdict.Unknown, at, "reads a clock");
            StepEnd step = _cpu.Step(instruction);

            // What had led to where no memory is now leads to a device, which a replay does not ask.
            _hasPassed |= step == StepEnd.Unknown && _cpu.IsAtDevice && isPlace;
            if (step != StepEnd.Done)
                return End(step == StepEnd.Traps ? ReplayVerdict.Crashes : ReplayVerdict.Unknown, at, _cpu.Why);
            if (isPlace)
                Pass(isBehind);
            _hasPassed |= _memory.HasReadWatched && !_input.KeepsLocks;
            if (goesIn)
                Descend(at, instruction);
            else if (instruction.Mnemonic == Mnemonic.Jmp)
                GoOn();

            // A retpoline goes to its function by a return.
            if (instruction.FlowControl is FlowControl.Call or FlowControl.IndirectCall or FlowControl.UnconditionalBranch or FlowControl.IndirectBranch or FlowControl.Return && Enter(at, goesIn) is var (verdict, why))
                return End(verdict, at, why);
        }

        return End(ReplayVerdict.Unknown, _cpu.Ip, _cpu.Moved > MaxMoved ? "has moved more memory than a replay does" : $"has not come back after {_input.MaxInstructions} instructions");

        ReplayResult End(ReplayVerdict verdict, ulong at, string why, bool hasReturned = false)
        {
            // What it does behind the place of the crash, the guest will see: where it has come by there but once, for what it did behind it before would be done a second time.
            if (verdict == ReplayVerdict.Unknown && _hasPassed && !_input.MustReturn && (_input.KeepsLocks || _isNew || !_place.IsRepeated(_input)) && (!_cpu.LacksValue || (_memory.HasReadWatched && AreAll(arguments))))
                verdict = ReplayVerdict.Passes;

            // Coming back is not enough: a list that the crashed call had emptied already is empty, and its work would be lost.
            if (verdict == ReplayVerdict.Passes && !(_input.IsRepeatable && hasReturned) && !(_input.MustReturn ? _deepest <= _input.Blamed : _hasPassed))
                (verdict, why) = (ReplayVerdict.Unknown, "comes back without coming by the place where it crashed, so that what it had to do may be lost");
            if (verdict == ReplayVerdict.Passes && !_input.IsRepeatable && (_input.KeepsLocks ? _points.Count == 0 : true) && _memory.Conflict() is { } store)
                (verdict, at, why) = (ReplayVerdict.DoneAlready, store.Ip, $"writes to 0x{store.Address:x} what is not there yet");
            return new ReplayResult(verdict, entry, arguments, at, why, hasReturned, done, _locks.Found) { Points = _points, Arrivals = _arrivals, IsRepeated = _points.Count > 0 && _place.IsRepeated(_input) };
        }
    }

    /// <summary>Nothing of what the function is called with is missing.</summary>
    private bool AreAll(IReadOnlyList<(Gpr Register, ulong Value)> arguments) =>
        _input.Parameters is { } count && count <= KnownRegisters.Arguments.Length && KnownRegisters.Arguments.ToArray().Take(count).All(register => arguments.Any(a => a.Register == register));

    /// <summary>It is at the place of the crash, in the activation that crashed.</summary>
    private bool IsPlace(ulong at, in Instruction instruction) => _call is null && _place.Kind != CrashPlaceKind.None && _level == _place.Level && _place.Kind switch
    {
        CrashPlaceKind.Call => instruction.Mnemonic == Mnemonic.Call && instruction.NextIP == _place.Ip && _input.Frames[1].Sp == _cpu.StackPointer,
        CrashPlaceKind.Instruction => at == _place.Ip && _cpu.StackPointer == _input.Frames[0].Sp,
        _ => at == _place.Ip,
    };

    /// <summary>It has executed what lies there.</summary>
    /// <param name="isBehind">It goes on behind it: a branch, or what waits for an interrupt, which has waited.</param>
    private void Pass(bool isBehind)
    {
        if (_place.Kind == CrashPlaceKind.Call)
        {
            _isCalling = true;
            return;
        }

        if (_place.Kind == CrashPlaceKind.Branch && _cpu.Ip == _place.Avoids)
            return;
        if (isBehind)
            Note();
        _hasPassed = true;
    }

    /// <summary>A call through a register goes by way of a thunk, as a rule; where a function begins, it has led somewhere.</summary>
    private void Arrive(ulong at)
    {
        if (_isCalling && NameOf(at) is { } name && !name.StartsWith("__x86_", StringComparison.Ordinal))
            (_hasPassed, _isCalling) = (true, false);
    }

    /// <summary>Keeps the state as it is, where it could be that of the crash: what it has stored is there.</summary>
    private void Note()
    {
        _arrivals++;
        if (_points.Count >= MaxPoints || !_input.KeepsLocks || _locks.HasOneThatIsFree || _memory.Conflict() is not null)
            return;
        _points.Add(new ReplayPoint(_cpu.Ip, _cpu.StackPointer, Known(), _memory.Changes(_cpu.StackPointer, _input.Return.Rsp), _cpu.Interrupts));
    }

    private KnownRegisters Known()
    {
        KnownRegisters registers = default;
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
        {
            if (_cpu[register].Knows(8))
                registers[register] = _cpu[register].Value;
        }

        return registers;
    }

    /// <summary>Calls that have come back.</summary>
    private void Follow(ulong at)
    {
        if (_call is { } call && at == call.Next && _cpu.StackPointer == call.Sp)
            (_call, _goesOnAt) = (null, null);
        while (_call is null && _level < _input.Index && at == _input.Frames[_level + 1].Ip && _cpu.StackPointer == _input.Frames[_level].Cfa)
            _level++;
    }

    /// <summary>The call that the crashed stack stands in at this level.</summary>
    private bool IsCallOfStack(in Instruction call) =>
        _level > 0 && !_input.Frames[_level].IsTrap && call.NextIP == _input.Frames[_level].Ip && (_input.Frames[_level - 1].Cfa ?? _input.Frames[_level].Sp) == _cpu.StackPointer;

    /// <summary>Goes to the next frame inwards. A pointer may lead to another function now; a direct call has led to the same one before, which went on to that of the stack by a jump.</summary>
    private void Descend(ulong at, in Instruction call)
    {
        if (IsNextOfStack())
        {
            Deepen();
            return;
        }

        _call = (at, call.NextIP, unchecked(_cpu.StackPointer + 8));
        _goesOnAt = _cpu.StackPointer;
    }

    /// <summary>A function that the stack's call leads to has gone on to that of the stack by a jump, its return address where it was.</summary>
    private void GoOn()
    {
        if (_call is null || _goesOnAt != _cpu.StackPointer || !IsNextOfStack())
            return;
        _call = null;
        Deepen();
    }

    private bool IsNextOfStack() => _level > 0 && _input.Analysis.Functions.TryFindFunction(_input.Frames[_level - 1].Point.LookupAddress, out FunctionParts function) && function.Main.Start == _cpu.Ip;

    private void Deepen()
    {
        _level--;
        _deepest = Math.Min(_deepest, _level);
        _goesOnAt = null;
    }

    /// <summary>The crashed call may have come by this instruction of the function at the current level.</summary>
    private bool MayHaveRun(ulong at)
    {
        if (!_may.TryGetValue(_level, out HashSet<ulong>? may))
        {
            StackFrame frame = _input.Frames[_level];
            // Where it is called again and again it has been through all of it before.
            may = !CrashPlace.IsCalledAgain(_input, _level) && _input.Analysis.Functions.TryFindFunction(frame.Point.LookupAddress, out FunctionParts function) ? AnalysedCode.WaysTo(_input.Analysis.Code, function, frame.Point, _input.Analysis.Hints) : null;
            _may.Add(_level, may);
        }

        return may is null || may.Contains(at);
    }

    private string? NameOf(ulong address)
    {
        if (!_names.TryGetValue(address, out string? name))
            _names.Add(address, name = _input.NameOf(address));
        return name;
    }

    /// <summary>Functions that are not executed: those that take and give back locks, those that only write to the log, and those that nothing comes back from as it went in.</summary>
    /// <param name="from">The instruction that has led there.</param>
    /// <param name="isOfStack">The crashed stack stands in it, or in what it goes on to by a jump: it is executed, whatever it does.</param>
    /// <returns>How the replay ends there; null where it goes on.</returns>
    private (ReplayVerdict Verdict, string Why)? Enter(ulong from, bool isOfStack)
    {
        if (NameOf(_cpu.Ip) is not { } name)
            return null;
        Arrive(_cpu.Ip);
        if (Deaths.Contains(name))
            return (ReplayVerdict.Crashes, $"calls {name}");

        // What the crashed call has slept for has come, and what a register held across it was kept.
        if (_call is not null && (Yields.Contains(name) || (IsOnItsWay && IsSleep(name))))
            return Skip();
        if (IsSleep(name))
            return (ReplayVerdict.Unknown, $"goes to sleep in {name}");
        if (name is "_printk" or "printk" or "_printk_deferred")
            return Skip();
        if (!isOfStack && _clock.Value is { } clock && clock.Function == _cpu.Ip && Skip() is var read)
        {
            _cpu[Gpr.Rax] = Bits.Of(clock.Cycles);
            return read;
        }

        if (!isOfStack && _call is not null && _cpu.TryBlock(name, out StepEnd block))
            return block == StepEnd.Done ? null : (block == StepEnd.Traps ? ReplayVerdict.Crashes : ReplayVerdict.Unknown, _cpu.Why);
        return !isOfStack && LockFunctions.Find(name) is { } function && _locks.Handle(function, _level, _call?.Ip ?? from, !_hasPassed && MayHaveRun(_call?.Ip ?? from)) == CallEnd.Waits ? (ReplayVerdict.Unknown, _locks.Why) : null;
    }

    /// <summary>It has not come by the place of the crash, and does what the crashed call has done.</summary>
    private bool IsOnItsWay => _input.KeepsLocks && !_hasPassed && _cpu.Repeats;

    private static bool IsSleep(string name) =>
        name is "schedule" or "__schedule" or "io_schedule" || name.StartsWith("schedule_", StringComparison.Ordinal) || name.StartsWith("preempt_schedule", StringComparison.Ordinal);

    /// <summary>Comes back from a function that is not executed.</summary>
    private (ReplayVerdict Verdict, string Why)? Skip()
    {
        _cpu.ForgetCallerSaved();
        return _cpu.Return() == StepEnd.Done ? null : (ReplayVerdict.Unknown, _cpu.Why);
    }
}
