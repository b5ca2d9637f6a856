namespace Panacea.Formats.Dwarf;

/// <summary>Tags that matter here (DWARF 5, 7.5.3).</summary>
internal static class Tag
{
    public const uint LexicalBlock = 0x0b, CompileUnit = 0x11, StructureType = 0x13, UnionType = 0x17, InlinedSubroutine = 0x1d, Subprogram = 0x2e, Namespace = 0x39, Module = 0x1e, ClassType = 0x02;
}

/// <summary>Attributes that matter here (DWARF 5, 7.5.4).</summary>
internal static class At
{
    public const uint Sibling = 0x01, Name = 0x03, StmtList = 0x10, LowPc = 0x11, HighPc = 0x12, Language = 0x13, CompDir = 0x1b, AbstractOrigin = 0x31, Specification = 0x47, Ranges = 0x55, CallFile = 0x58, CallLine = 0x59,
        StrOffsetsBase = 0x72, AddrBase = 0x73, RngListsBase = 0x74;
}

/// <summary>Forms of values (DWARF 5, 7.5.6; those of GNU before they were standard).</summary>
internal static class Form
{
    public const uint Addr = 0x01, Block2 = 0x03, Block4 = 0x04, Data2 = 0x05, Data4 = 0x06, Data8 = 0x07, String = 0x08, Block = 0x09, Block1 = 0x0a, Data1 = 0x0b, Flag = 0x0c, Sdata = 0x0d, Strp = 0x0e,
        Udata = 0x0f, RefAddr = 0x10, Ref1 = 0x11, Ref2 = 0x12, Ref4 = 0x13, Ref8 = 0x14, RefUdata = 0x15, Indirect = 0x16, SecOffset = 0x17, ExprLoc = 0x18, FlagPresent = 0x19, Strx = 0x1a, Addrx = 0x1b,
        RefSup4 = 0x1c, StrpSup = 0x1d, Data16 = 0x1e, LineStrp = 0x1f, RefSig8 = 0x20, ImplicitConst = 0x21, LocListx = 0x22, RngListx = 0x23, RefSup8 = 0x24, Strx1 = 0x25, Strx2 = 0x26, Strx3 = 0x27,
        Strx4 = 0x28, Addrx1 = 0x29, Addrx2 = 0x2a, Addrx3 = 0x2b, Addrx4 = 0x2c, GnuAddrIndex = 0x1f01, GnuStrIndex = 0x1f02, GnuRefAlt = 0x1f20, GnuStrpAlt = 0x1f21;
}

/// <summary>How numbers of one unit are written.</summary>
/// <param name="Version">2 to 5.</param>
/// <param name="OffsetSize">4 or 8.</param>
/// <param name="AddressSize">Bytes of an address, 1 to 8.</param>
internal readonly record struct DwarfEncoding(int Version, int OffsetSize, int AddressSize);

/// <summary>A value as it is written; <see cref="DwarfUnit"/> resolves what it points to.</summary>
/// <param name="Form">Its form; 0 where there is none.</param>
/// <param name="Number">The number; of a string in place, its position in the unit.</param>
internal readonly record struct DwarfValue(uint Form, ulong Number)
{
    /// <summary>There is one.</summary>
    public bool Exists => Form != 0;

    /// <summary>Reads a value, or skips it: it costs the same.</summary>
    /// <exception cref="InvalidDataException">The form is not known, or the bytes end.</exception>
    public static DwarfValue Read(ref DwarfCursor at, uint form, long constant, in DwarfEncoding encoding)
    {
        if (form == Dwarf.Form.Indirect)
        {
            form = (uint)Math.Min(at.Uleb(), uint.MaxValue);
            if (form is Dwarf.Form.Indirect or Dwarf.Form.ImplicitConst)
                throw new InvalidDataException("a form of its debug information leads to itself");
        }

        return new DwarfValue(form, NumberOf(ref at, form, constant, encoding));
    }

    private static ulong NumberOf(ref DwarfCursor at, uint form, long constant, in DwarfEncoding encoding)
    {
        switch (form)
        {
            case Dwarf.Form.Data1 or Dwarf.Form.Ref1 or Dwarf.Form.Flag or Dwarf.Form.Strx1 or Dwarf.Form.Addrx1:
                return at.U8();
            case Dwarf.Form.Data2 or Dwarf.Form.Ref2 or Dwarf.Form.Strx2 or Dwarf.Form.Addrx2:
                return at.U16();
            case Dwarf.Form.Strx3 or Dwarf.Form.Addrx3:
                return at.Unsigned(3);
            case Dwarf.Form.Data4 or Dwarf.Form.Ref4 or Dwarf.Form.Strx4 or Dwarf.Form.Addrx4 or Dwarf.Form.RefSup4:
                return at.U32();
            case Dwarf.Form.Data8 or Dwarf.Form.Ref8 or Dwarf.Form.RefSig8 or Dwarf.Form.RefSup8:
                return at.U64();
            case Dwarf.Form.Udata or Dwarf.Form.RefUdata or Dwarf.Form.Strx or Dwarf.Form.Addrx or Dwarf.Form.LocListx or Dwarf.Form.RngListx or Dwarf.Form.GnuAddrIndex or Dwarf.Form.GnuStrIndex:
                return at.Uleb();
            case Dwarf.Form.Sdata:
                return unchecked((ulong)at.Sleb());
            case Dwarf.Form.Addr:
                return at.Unsigned(encoding.AddressSize);
            case Dwarf.Form.Strp or Dwarf.Form.LineStrp or Dwarf.Form.SecOffset or Dwarf.Form.StrpSup or Dwarf.Form.GnuRefAlt or Dwarf.Form.GnuStrpAlt:
                return at.Unsigned(encoding.OffsetSize);
            case Dwarf.Form.RefAddr:
                // As wide as an address in DWARF 2, as an offset since.
                return at.Unsigned(encoding.Version == 2 ? encoding.AddressSize : encoding.OffsetSize);
            case Dwarf.Form.FlagPresent:
                return 1;
            case Dwarf.Form.ImplicitConst:
                return unchecked((ulong)constant);
            case Dwarf.Form.String:
                int position = at.Position;
                at.Text();
                return (ulong)position;
            case Dwarf.Form.Data16:
                at.Skip(16);
                return 0;
            case Dwarf.Form.Block1:
                at.Skip(at.U8());
                return 0;
            case Dwarf.Form.Block2:
                at.Skip(at.U16());
                return 0;
            case Dwarf.Form.Block4:
                at.Skip(at.U32());
                return 0;
            case Dwarf.Form.Block or Dwarf.Form.ExprLoc:
                at.Skip(at.Uleb());
                return 0;
            default:
                throw new InvalidDataException($"its debug information has a value of a form that is not known (0x{form:x})");
        }
    }
}
