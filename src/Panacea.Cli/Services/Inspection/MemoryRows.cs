namespace Panacea.Cli.Services.Inspection;

/// <summary>What memory to read and as what.</summary>
/// <param name="Where">SYMBOL, SYMBOL+0x10, SYMBOL:CPU (per-CPU), 0x….</param>
/// <param name="Count">Units; of a string, bytes at most.</param>
/// <param name="As">u8, u16, u32, u64, string, or the name of a type.</param>
/// <param name="Physical">The address is guest-physical.</param>
internal sealed record ReadRequest(string Where, int? Count, string As, bool Physical);

/// <summary>What was read.</summary>
internal sealed record ReadAnswer
{
    /// <summary>First address.</summary>
    public required ulong Address { get; init; }

    /// <summary>u8, u16, u32, u64, string, or the type's name with its keyword.</summary>
    public required string As { get; init; }

    /// <summary>The address is guest-physical.</summary>
    public bool Physical { get; init; }

    /// <summary>The bytes, lower-case hex; null where a structure was read.</summary>
    public string? Bytes { get; init; }

    /// <summary>Of u64: each word.</summary>
    public IReadOnlyList<WordRow>? Words { get; init; }

    /// <summary>Of string: the text.</summary>
    public string? Text { get; init; }

    /// <summary>Of a type: its members in order, those of inner structures behind them and one deeper.</summary>
    public IReadOnlyList<MemberRow>? Members { get; init; }
}

/// <summary>One 64-bit word.</summary>
/// <param name="Address">Where it stands.</param>
/// <param name="Value">The word.</param>
/// <param name="Explanation">What it is; null for what is plainly a number.</param>
internal sealed record WordRow(ulong Address, ulong Value, string? Explanation);

/// <summary>One member of a structure in memory.</summary>
/// <param name="Depth">How deep it is nested; 0 for the structure's own.</param>
/// <param name="Offset">Bytes from the start of the outermost structure.</param>
/// <param name="Name">Name; empty for anonymous ones.</param>
/// <param name="Type">Type as C writes it.</param>
/// <param name="Value">Value as a person reads it; null for one that is spelled out in the rows behind it.</param>
/// <param name="Explanation">What a pointer leads to; null where nothing is known of it.</param>
internal sealed record MemberRow(int Depth, long Offset, string Name, string Type, string? Value, string? Explanation);

/// <summary>What code to disassemble.</summary>
/// <param name="Where">As for reading.</param>
/// <param name="Count">Instructions from there on; null for the whole function.</param>
/// <param name="Pristine">Show the code as it was when the image was made.</param>
/// <param name="Image">File of a repair image to compare with; null for what was learned when the source was opened.</param>
internal sealed record DisassemblyRequest(string Where, int? Count, bool Pristine, string? Image);

/// <summary>A listing.</summary>
/// <param name="Function">Function, or null where no symbol covers the code.</param>
/// <param name="Start">Its first address.</param>
/// <param name="Size">Its bytes; 0 where unknown.</param>
/// <param name="Module">Module, or null for the kernel.</param>
/// <param name="From">memory or image.</param>
/// <param name="Instructions">The code.</param>
internal sealed record DisassemblyAnswer(string? Function, ulong Start, long Size, string? Module, string From, IReadOnlyList<InstructionRow> Instructions);

/// <summary>One instruction.</summary>
/// <param name="Address">Address.</param>
/// <param name="Bytes">Its bytes, lower-case hex.</param>
/// <param name="Text">AT&amp;T syntax.</param>
/// <param name="Marked">The address that was asked for, where that is not the function's start.</param>
/// <param name="Other">Bytes of the other copy where they differ, lower-case hex; null where they do not, or there is no other copy.</param>
/// <param name="OtherText">The instruction that the other copy has at this address; null where it does not differ.</param>
internal sealed record InstructionRow(ulong Address, string Bytes, string Text, bool Marked, string? Other, string? OtherText);
