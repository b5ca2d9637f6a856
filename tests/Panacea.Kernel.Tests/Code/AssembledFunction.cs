using Iced.Intel;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;

namespace Panacea.Kernel.Tests.Code;

/// <summary>A hand-assembled function with named places in it.</summary>
internal sealed class AssembledFunction
{
    public const ulong Start = 0xffff_ffff_8100_0000;
    private readonly Places _places;
    private readonly AssemblerResult _result;

    public AssembledFunction(Action<Assembler, Places> body, string name = "f", ulong start = Start)
    {
        var assembler = new Assembler(64);
        _places = new Places(assembler);
        body(assembler, _places);
        var stream = new MemoryStream();
        if (!assembler.TryAssemble(new StreamCodeWriter(stream), start, out string? error, out AssemblerResult result, BlockEncoderOptions.ReturnNewInstructionOffsets))
            throw new InvalidOperationException(error);
        _result = result;
        Bytes = stream.ToArray();
        Range = new FunctionRange(start, start + (ulong)Bytes.Length, name);
    }

    public byte[] Bytes { get; }

    public FunctionRange Range { get; }

    public FunctionParts Parts => new(Range);

    public ICodeSource Code => new CodeBytes(Range.Start, Bytes);

    public ulong this[string label] => _result.GetLabelRIP(_places[label]);
}

/// <summary>Labels by name.</summary>
internal sealed class Places(Assembler assembler)
{
    private readonly Dictionary<string, Label> _labels = [];

    /// <summary>The label, to jump to.</summary>
    public Label this[string name]
    {
        get
        {
            if (!_labels.TryGetValue(name, out Label found))
                _labels.Add(name, found = assembler.CreateLabel(name));
            return found;
        }
    }

    /// <summary>The next instruction stands at this label.</summary>
    public void Mark(Assembler into, string name)
    {
        Label label = this[name];
        into.Label(ref label);
        _labels[name] = label;
    }
}

/// <summary>Unwind rows written down by hand: each holds from its address on.</summary>
internal sealed class OrcRows : IOrcLookup
{
    private readonly SortedDictionary<ulong, OrcEntry?> _rows = [];

    /// <summary>The usual row: CFA = RSP + depth, RBP saved at CFA + <paramref name="bp"/> or unchanged (0).</summary>
    public OrcRows At(ulong address, short depth, short bp = 0) => At(address, new OrcEntry(
        OrcRegister.Sp, depth, bp == 0 ? OrcRegister.Undefined : OrcRegister.PrevSp, bp, OrcType.Call, Signal: false));

    public OrcRows At(ulong address, OrcEntry? row)
    {
        _rows[address] = row;
        return this;
    }

    public bool TryFind(ulong instruction, out OrcEntry entry)
    {
        OrcEntry? found = null;
        foreach ((ulong address, OrcEntry? row) in _rows)
        {
            if (address <= instruction)
                found = row;
        }

        entry = found.GetValueOrDefault();
        return found is not null;
    }
}

/// <summary>Whatever is asked, the depth is this: for functions where only the place asked about matters.</summary>
internal sealed class OneRow(OrcEntry entry) : IOrcLookup
{
    public OneRow(short depth, short bp = 0)
        : this(new OrcEntry(OrcRegister.Sp, depth, bp == 0 ? OrcRegister.Undefined : OrcRegister.PrevSp, bp, OrcType.Call, Signal: false))
    {
    }

    public bool TryFind(ulong instruction, out OrcEntry found)
    {
        found = entry;
        return true;
    }
}
