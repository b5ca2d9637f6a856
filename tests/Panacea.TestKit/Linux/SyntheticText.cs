using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.TestKit.Formats;

namespace Panacea.TestKit.Linux;

/// <summary>One function while it is being written: instructions, named places, unwind rows.</summary>
public sealed class FunctionWriter
{
    private readonly Func<string, ulong> _addressOf;
    private readonly List<(int Instruction, string Name)> _places = [];
    private readonly List<(int Instruction, OrcEntry Row)> _rows = [];

    internal FunctionWriter(Func<string, ulong> addressOf) => _addressOf = addressOf;

    /// <summary>The assembler.</summary>
    public Assembler A { get; } = new(64);

    /// <summary>Names the next instruction.</summary>
    public FunctionWriter At(string place)
    {
        _places.Add((A.Instructions.Count, place));
        return this;
    }

    /// <summary>From the next instruction on, the caller's stack pointer is RSP + <paramref name="depth"/>.</summary>
    public FunctionWriter Depth(short depth) => Row(SyntheticOrc.Call(depth));

    /// <summary>From the next instruction on, this row holds.</summary>
    public FunctionWriter Row(OrcEntry row)
    {
        _rows.Add((A.Instructions.Count, row));
        return this;
    }

    /// <summary>Calls a function by name and names the return address <c>back:NAME</c>.</summary>
    public FunctionWriter Call(string function)
    {
        A.call(_addressOf(function));
        return At($"back:{function}");
    }

    /// <summary>Goes on with another function, whose return is this one's.</summary>
    public void Jump(string function) => A.jmp(_addressOf(function));

    /// <summary>A frame that saves RBX around <paramref name="body"/>.</summary>
    public FunctionWriter Frame(Action body)
    {
        Depth(8);
        A.push(AssemblerRegisters.rbx);
        Depth(16);
        A.mov(AssemblerRegisters.rbx, AssemblerRegisters.rdi);
        body();
        A.pop(AssemblerRegisters.rbx);
        Depth(8);
        A.ret();
        return this;
    }

    internal byte[] Assemble(ulong start, Dictionary<string, ulong> places, List<(ulong, OrcEntry)> rows, string name)
    {
        var stream = new MemoryStream();
        if (!A.TryAssemble(new StreamCodeWriter(stream), start, out string? error, out AssemblerResult result, BlockEncoderOptions.ReturnNewInstructionOffsets))
            throw new InvalidOperationException($"{name}: {error}");
        uint[] offsets = result.Result[0].NewInstructionOffsets;
        ulong Address(int instruction) => start + (instruction < offsets.Length ? offsets[instruction] : (ulong)stream.Length);
        foreach ((int instruction, string place) in _places)
            places[$"{name}:{place}"] = Address(instruction);
        foreach ((int instruction, OrcEntry row) in _rows)
            rows.Add((Address(instruction), row));
        return stream.ToArray();
    }
}

/// <summary>Hand-assembled text: each function in a slot of its own, so that functions can call each other by name.</summary>
/// <param name="start">Guest-virtual address of the first slot.</param>
public sealed class SyntheticText(ulong start)
{
    /// <summary>Bytes of a slot; what the function leaves is INT3.</summary>
    public const int SlotBytes = 0x200;

    private readonly List<(string Name, Action<FunctionWriter> Body)> _functions = [];
    private readonly Dictionary<string, ulong> _places = new(StringComparer.Ordinal);
    private readonly List<(ulong Ip, OrcEntry Row)> _rows = [];

    /// <summary>Names and addresses, ascending.</summary>
    public IEnumerable<(string Name, ulong Address)> Functions => _functions.Select((f, i) => (f.Name, Slot(i)));

    /// <summary>Unwind rows, ascending.</summary>
    public IReadOnlyList<(ulong Ip, OrcEntry Row)> Rows => _rows;

    /// <summary>Finds what is not in this text: a module's calls into the kernel.</summary>
    public Func<string, ulong>? Outside { get; init; }

    /// <summary>Adds a function.</summary>
    public SyntheticText Add(string name, Action<FunctionWriter> body)
    {
        _functions.Add((name, body));
        return this;
    }

    /// <summary>Address of a function, or of a place in one (<c>function:place</c>).</summary>
    public ulong this[string name]
    {
        get
        {
            int index = _functions.FindIndex(f => f.Name == name);
            return index >= 0 ? Slot(index) : _places.TryGetValue(name, out ulong place) ? place : Outside?.Invoke(name) ?? throw new KeyNotFoundException(name);
        }
    }

    /// <summary>How far RSP is from the caller's at an address, by the rows.</summary>
    public int DepthAt(ulong address) => _rows.Last(r => r.Ip <= address).Row.SpOffset;

    /// <summary>True where a name is of this text.</summary>
    public bool Has(string name) => _functions.Exists(f => f.Name == name);

    /// <summary>Assembles all of it.</summary>
    public byte[] Build()
    {
        _rows.Clear();
        byte[] text = new byte[_functions.Count * SlotBytes];
        text.AsSpan().Fill(0xcc);
        for (int i = 0; i < _functions.Count; i++)
        {
            var writer = new FunctionWriter(n => this[n]);
            _functions[i].Body(writer);
            byte[] bytes = writer.Assemble(Slot(i), _places, _rows, _functions[i].Name);
            if (bytes.Length > SlotBytes)
                throw new InvalidOperationException($"{_functions[i].Name} is larger than its slot");
            bytes.CopyTo(text.AsSpan(i * SlotBytes));
        }

        return text;
    }

    private ulong Slot(int index) => start + (ulong)(index * SlotBytes);
}
