using Iced.Intel;

namespace Panacea.Kernel.Code;

/// <summary>Decodes single instructions inside a function's parts, fetching text in pieces and only where it is needed: a range's end comes from
/// the symbol table and may be far too large.</summary>
internal sealed class CodeWindow : CodeReader
{
    private const int PieceSize = 512;
    private readonly ICodeSource _code;
    private readonly FunctionParts _function;
    private readonly Dictionary<ulong, byte[]?> _pieces = [];
    private readonly Decoder _decoder;
    private FunctionRange _part;
    private ulong _at;
    private byte[]? _piece;
    private ulong _pieceStart;
    private bool _unreadable;

    public CodeWindow(ICodeSource code, in FunctionParts function)
    {
        _code = code;
        _function = function;
        _decoder = Decoder.Create(64, this);
    }

    /// <summary>Decodes the instruction at <paramref name="address"/>.</summary>
    public bool TryDecode(ulong address, out Instruction instruction, out DeclineReason why)
    {
        instruction = default;
        why = DeclineReason.None;
        if (!_part.Contains(address) && !_function.TryFindPart(address, out _part))
        {
            why = DeclineReason.OutsideFunction;
            return false;
        }

        _at = address;
        _unreadable = false;
        _decoder.IP = address;
        _decoder.Decode(out instruction);
        if (!instruction.IsInvalid)
            return true;
        why = _unreadable ? DeclineReason.TextUnreadable : DeclineReason.Undecodable;
        return false;
    }

    public override int ReadByte()
    {
        if (!_part.Contains(_at))
            return -1;
        ulong index = unchecked(_at - _pieceStart);
        if (_piece is null || index >= (ulong)_piece.Length)
        {
            ulong number = (_at - _part.Start) / PieceSize;
            _pieceStart = _part.Start + (number * PieceSize);
            if (!_pieces.TryGetValue(_pieceStart, out _piece))
            {
                _piece = new byte[Math.Min(PieceSize, _part.End - _pieceStart)];
                if (!_code.TryReadCode(_pieceStart, _piece))
                    _piece = null;
                _pieces.Add(_pieceStart, _piece);
            }

            if (_piece is null)
            {
                _unreadable = true;
                return -1;
            }

            index = _at - _pieceStart;
        }

        _at++;
        return _piece[index];
    }
}
