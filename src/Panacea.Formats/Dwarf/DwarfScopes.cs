namespace Panacea.Formats.Dwarf;

/// <summary>A function whose code an address is part of.</summary>
/// <param name="Entry">Its entry in .debug_info.</param>
/// <param name="CallFile">Of an inlined one: number of the file that calls it.</param>
/// <param name="CallLine">Of an inlined one: line of the call; 0 where it is not told.</param>
internal readonly record struct DwarfScope(ulong Entry, ulong CallFile, ulong CallLine);

/// <summary>Finds the function that an address belongs to, and those that the compiler has put into it there.</summary>
internal static class DwarfScopes
{
    /// <summary>The function first, then what is inlined in it at that address, each within the one before. Empty where no function covers the address, as in assembly.</summary>
    /// <param name="unit">The unit that holds the address.</param>
    /// <param name="address">Address.</param>
    /// <exception cref="InvalidDataException">The unit is damaged, or beyond the limits.</exception>
    public static List<DwarfScope> Find(DwarfUnit unit, ulong address)
    {
        var found = new List<DwarfScope>();
        unit.Sections.Spend(unit.Held);
        DwarfCursor at = unit.Entries();
        bool isC = IsC(unit.Language);

        // Depth of the entry that comes next; below that of the innermost function found there is nothing more to find.
        int depth = 0, foundDepth = -1;
        while (at.Left > 0)
        {
            ulong offset = unit.Offset + (ulong)at.Position;
            ulong code = at.Uleb();
            if (code == 0)
            {
                depth--;
                if (depth <= 0 || depth <= foundDepth)
                    break;
                continue;
            }

            DwarfAbbreviation shape = unit.Shape(code);
            DwarfEntry entry = DwarfEntry.Read(unit, shape, ref at);
            bool isFunction = shape.Tag is Tag.Subprogram or Tag.InlinedSubroutine;
            bool enter = shape.Tag switch
            {
                Tag.CompileUnit => true,
                Tag.Subprogram or Tag.InlinedSubroutine => entry.Place.Exists && entry.Place.Contains(unit, address),
                Tag.LexicalBlock => !entry.Place.Exists || entry.Place.Contains(unit, address),
                Tag.Namespace or Tag.Module => true,

                // Functions may lie in types where the language has them there (Rust, C++).
                Tag.StructureType or Tag.UnionType or Tag.ClassType => !isC,
                _ => false,
            };
            if (enter && isFunction)
            {
                if (found.Count >= unit.Limits.MaxInlineDepth)
                    throw new InvalidDataException($"more than {unit.Limits.MaxInlineDepth} functions are inlined in each other");
                found.Add(new DwarfScope(offset, entry.CallFile, entry.CallLine));
                foundDepth = depth;
            }

            if (!shape.HasChildren)
            {
                if (enter && isFunction)
                    break;
                continue;
            }

            if (!enter && entry.Sibling is { } sibling && sibling > offset && sibling < unit.End)
                at = unit.EntryAt(sibling);
            else if (enter || entry.Sibling is not null)
                depth++;
            else
                Skip(unit, ref at);
        }

        return found;
    }

    /// <summary>Skips the children of an entry that does not say where they end.</summary>
    private static void Skip(DwarfUnit unit, ref DwarfCursor at)
    {
        int depth = 1;
        while (depth > 0 && at.Left > 0)
        {
            ulong code = at.Uleb();
            if (code == 0)
            {
                depth--;
                continue;
            }

            DwarfAbbreviation shape = unit.Shape(code);
            DwarfEntry.Read(unit, shape, ref at);
            depth += shape.HasChildren ? 1 : 0;
        }
    }

    /// <summary>DW_LANG_C89, _C, _C99, _C11, _C17, _Mips_Assembler.</summary>
    private static bool IsC(ulong language) => language is 0x01 or 0x02 or 0x0c or 0x1d or 0x2c or 0x8001;

    /// <summary>What of an entry matters here.</summary>
    private readonly record struct DwarfEntry(DwarfPlace Place, ulong? Sibling, ulong CallFile, ulong CallLine)
    {
        public static DwarfEntry Read(DwarfUnit unit, DwarfAbbreviation shape, ref DwarfCursor at)
        {
            DwarfValue low = default, high = default, ranges = default;
            ulong? sibling = null;
            ulong file = 0, line = 0;
            foreach (DwarfAttribute attribute in shape.Attributes)
            {
                DwarfValue value = DwarfValue.Read(ref at, attribute.Form, attribute.Constant, unit.Encoding);
                switch (attribute.Name)
                {
                    case At.Sibling: sibling = unit.ReferenceOf(value); break;
                    case At.LowPc: low = value; break;
                    case At.HighPc: high = value; break;
                    case At.Ranges: ranges = value; break;
                    case At.CallFile: file = value.Number; break;
                    case At.CallLine: line = value.Number; break;
                }
            }

            return new DwarfEntry(new DwarfPlace(low, high, ranges), sibling, file, line);
        }
    }
}
