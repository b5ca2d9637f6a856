using Iced.Intel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Kernel.Replay;

/// <summary>What a call is made with: the code that sets it up is executed, too.</summary>
public sealed partial class CallReplay
{
    /// <summary>Instructions that set up a call.</summary>
    private const int MaxSetUp = 64;

    // Registers that hold what the code that sets up the call has read from memory, a bit each.
    private int _loaded;

    /// <summary>The arguments of a call, as far as the code that sets it up tells them, and whether they were read from memory for it, which may have changed since.</summary>
    /// <param name="input">What it is made of.</param>
    public static IReadOnlyList<DerivedValue> ArgumentsOf(ReplayInput input)
    {
        if (!TryCall(input, out CallSetup setup, out FunctionParts callee, out _))
            return [];
        var replay = new CallReplay(input);
        replay.Begin(input.Return.CalleeSaved, input.Return.Rsp);
        var passed = replay.Passed(setup, callee).Where(r => replay._cpu[r].Knows(8)).ToDictionary(r => r, r => new DerivedValue(r, replay._cpu[r].Value, (replay._loaded & (1 << (int)r)) != 0));
        if (IsEntered(input, setup, callee))
            passed[Gpr.Rdi] = new DerivedValue(Gpr.Rdi, input.Return.Rsp, false);
        return [.. passed.Values];
    }

    /// <summary>It was called by the entry of a trap or an interrupt, whose stack begins with the registers of what was interrupted: they are its first argument (arch/x86/entry/entry_64.S, idtentry_body), and that of what
    /// it ends with by a jump (kernel/entry/common.c).</summary>
    private static bool IsEntered(ReplayInput input, CallSetup setup, in FunctionParts callee) =>
        input.Analysis.Functions.TryFindFunction(input.Frames[input.Index + 1].Point.LookupAddress, out FunctionParts caller) && caller.Main.Name.StartsWith("asm_", StringComparison.Ordinal)
        && (setup.Target == callee.Main.Start || callee.Main.Name == "irqentry_exit");

    private static bool TryCall(ReplayInput input, out CallSetup setup, out FunctionParts callee, out string whyNot)
    {
        (setup, callee, whyNot) = (default, default, "");
        StackFrame caller = input.Frames[input.Index + 1];
        if (!input.Analysis.Functions.TryFindFunction(caller.Point.LookupAddress, out FunctionParts calling)
            || !CallSetup.TryFind(input.Analysis.Code, calling, input.Analysis.Hints, input.Return.Rip, input.NameOf, out setup))
        {
            whyNot = "the call can't be found in its caller's code";
            return false;
        }

        if (input.Analysis.Functions.TryFindFunction(input.Frames[input.Index].Point.LookupAddress, out callee))
            return true;
        whyNot = "what was called is no function";
        return false;
    }

    /// <summary>The arguments: as the code of the call sets them up, but for what a function between has changed of them; else as the function that was called has kept them.</summary>
    private List<(Gpr Register, ulong Value)> SetUp(CallSetup setup, in FunctionParts callee)
    {
        IReadOnlyList<Gpr> passed = Passed(setup, callee);
        var arguments = new List<(Gpr, ulong)>();
        foreach (Gpr register in KnownRegisters.Arguments)
        {
            if (register == Gpr.Rdi && IsEntered(_input, setup, callee))
                arguments.Add((register, _input.Return.Rsp));
            else if (passed.Contains(register) && _cpu[register].Knows(8))
                arguments.Add((register, _cpu[register].Value));
            else if (_input.Return.Arguments.TryGet(register, out ulong kept))
                arguments.Add((register, kept));
        }

        _cpu.ForgetCallerSaved();
        foreach ((Gpr register, ulong value) in arguments)
            _cpu[register] = Bits.Of(value);
        return arguments;
    }

    /// <summary>Executes what sets up a call: the registers in which the function that was called got what they hold now.</summary>
    private IReadOnlyList<Gpr> Passed(CallSetup setup, in FunctionParts callee)
    {
        bool isSetUp = (setup.Wide < setup.Past && SetsUp(setup.Wide, setup.Call)) || (setup.Past < setup.Start && SetsUp(setup.Past, setup.Call)) || SetsUp(setup.Start, setup.Call);
        return !isSetUp ? [] : setup.Target is not { } target || target == callee.Main.Start ? [.. KnownRegisters.Arguments]
            : _input.Analysis.Functions.TryFindFunction(target, out FunctionParts between) && between.Main.Start == target ? CallSetup.PassedOn(_input.Analysis.Code, between, _input.Analysis.Hints, callee.Main.Start) : [];
    }

    /// <summary>Executes what sets up a call; what it may have changed before is not known where it does not come to it. What one instruction makes of what is not known is not known, and the next may do without.</summary>
    private bool SetsUp(ulong start, ulong call)
    {
        _cpu.ForgetCallerSaved();
        if (_input.Frames[_input.Index + 1].Cfa is { } end)
        {
            KnownRegisters known = Known();
            StoredValues.Learn(_input, start, call, (_input.Return.Rsp, end - 8), ref known);
            for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
            {
                if (known[register] is { } value)
                    _cpu[register] = Bits.Of(value);
            }
        }

        _cpu.Ip = start;
        _loaded = 0;
        var factory = new InstructionInfoFactory();
        for (int step = 0; _cpu.Ip != call; step++)
        {
            // What it has stored is there.
            if (step < MaxSetUp && _cpu.TryDecode(out Instruction store) && StoredValues.OnlyStores(factory, store))
            {
                _cpu.GoBy(store);
                continue;
            }

            if (step >= MaxSetUp || _cpu.Ip < start || _cpu.Ip > call || !_cpu.TryDecode(out Instruction instruction) || (_cpu.Step(instruction) != StepEnd.Done && !_cpu.PassBy(instruction)))
                return false;
            NoteLoaded(factory.GetInfo(instruction));
        }

        return true;
    }

    /// <summary>Registers that an instruction has set to what it has read from memory, but for its own stack and the task that runs, or to what it has made of such.</summary>
    private void NoteLoaded(in InstructionInfo info)
    {
        int read = 0, written = 0;
        foreach (UsedRegister used in info.GetUsedRegisters())
        {
            if (!used.Register.IsGPR())
                continue;
            int bit = 1 << (used.Register.GetFullRegister() - Register.RAX);
            read |= used.Access is OpAccess.Read or OpAccess.ReadWrite or OpAccess.CondRead or OpAccess.ReadCondWrite ? bit : 0;
            written |= used.Access is OpAccess.Write or OpAccess.ReadWrite or OpAccess.CondWrite or OpAccess.ReadCondWrite ? bit : 0;
        }

        bool isLoaded = (read & _loaded) != 0;
        foreach (UsedMemory used in info.GetUsedMemory())
            isLoaded |= used.Access is OpAccess.Read or OpAccess.CondRead or OpAccess.ReadWrite && used.Base != Register.RSP;
        _loaded = isLoaded ? _loaded | written : _loaded & ~written;
        for (Gpr register = Gpr.Rax; register <= Gpr.R15; register++)
        {
            if (isLoaded && (written & (1 << (int)register)) != 0 && _input.Task != 0 && _cpu[register].Knows(8) && _cpu[register].Value == _input.Task)
                _loaded &= ~(1 << (int)register);
        }
    }
}
