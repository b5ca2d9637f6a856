using System.Buffers.Binary;
using System.Globalization;
using System.Text;

namespace Panacea.Formats.VmcoreInfo;

/// <summary>
/// The kernel's VMCOREINFO: <c>KEY=VALUE</c> lines that it keeps for crash dumps (kernel/vmcore_info.c, Documentation/admin-guide/kdump/vmcoreinfo.rst).
/// Immutable. Where a key appears twice, the first counts.
/// </summary>
public sealed class VmcoreInfoData
{
    /// <summary>Name of the ELF note, without its NUL.</summary>
    public const string NoteName = "VMCOREINFO";

    private readonly Dictionary<string, string> _values;

    private VmcoreInfoData(Dictionary<string, string> values) => _values = values;

    /// <summary>All lines, by what stands before the equals sign.</summary>
    public IReadOnlyDictionary<string, string> Values => _values;

    /// <summary>The kernel release (uname -r), empty where it is not given.</summary>
    public string OsRelease => _values.GetValueOrDefault("OSRELEASE", "");

    /// <summary>True where these bytes begin with the header of a VMCOREINFO note: what a scan of page-aligned RAM looks for.</summary>
    public static bool IsNoteHeader(ReadOnlySpan<byte> bytes) =>
        bytes.Length >= 24 && BinaryPrimitives.ReadUInt32LittleEndian(bytes) == 11 && BinaryPrimitives.ReadUInt32LittleEndian(bytes[8..]) == 0
        && bytes.Slice(12, 12).SequenceEqual("VMCOREINFO\0\0"u8);

    /// <summary>Parses an ELF note: 12 bytes of header, the name, the text. Bytes behind the note are ignored.</summary>
    public static bool TryParseNote(ReadOnlySpan<byte> note, FormatLimits limits, out VmcoreInfoData info, out string whyNot)
    {
        info = null!;
        whyNot = "not a VMCOREINFO note";
        if (!IsNoteHeader(note))
            return false;
        uint size = BinaryPrimitives.ReadUInt32LittleEndian(note[4..]);
        if (size > (uint)(note.Length - 24))
        {
            whyNot = $"the VMCOREINFO note says that it has {size} bytes, {note.Length - 24} are there";
            return false;
        }

        return TryParse(note.Slice(24, (int)size), limits, out info, out whyNot);
    }

    /// <summary>Parses the text: lines that end in LF; it ends at the first NUL. Lines without an equals sign are ignored.</summary>
    /// <returns>False with the reason where it is over the limits or has no OSRELEASE line, which every kernel since 2.6.24 writes.</returns>
    public static bool TryParse(ReadOnlySpan<byte> text, FormatLimits limits, out VmcoreInfoData info, out string whyNot)
    {
        info = null!;
        whyNot = "";
        int nul = text.IndexOf((byte)0);
        if (nul >= 0)
            text = text[..nul];
        if (text.Length > limits.MaxNoteBytes)
        {
            whyNot = $"{text.Length} bytes of VMCOREINFO are more than the {limits.MaxNoteBytes} allowed";
            return false;
        }

        var values = new Dictionary<string, string>(StringComparer.Ordinal);
        int lines = 0;
        foreach (Range range in text.Split((byte)'\n'))
        {
            if (++lines > limits.MaxVmcoreInfoLines)
            {
                whyNot = $"more than {limits.MaxVmcoreInfoLines} lines of VMCOREINFO";
                return false;
            }

            ReadOnlySpan<byte> line = text[range];
            int equals = line.IndexOf((byte)'=');
            if (equals > 0)
                values.TryAdd(Encoding.UTF8.GetString(line[..equals]), Encoding.UTF8.GetString(line[(equals + 1)..]));
        }

        if (!values.ContainsKey("OSRELEASE"))
        {
            whyNot = "the VMCOREINFO text has no OSRELEASE line";
            return false;
        }

        info = new VmcoreInfoData(values);
        return true;
    }

    /// <summary>SYMBOL(name): a symbol's run-time address (KASLR included).</summary>
    public bool TryGetSymbol(string name, out ulong address) => TryHex($"SYMBOL({name})", out address);

    /// <summary>OFFSET(type.member): a member's offset in bytes.</summary>
    public bool TryGetOffset(string member, out int bytes) => TryCount($"OFFSET({member})", out bytes);

    /// <summary>SIZE(type): a type's size in bytes.</summary>
    public bool TryGetSize(string type, out int bytes) => TryCount($"SIZE({type})", out bytes);

    /// <summary>LENGTH(array): an array's number of elements.</summary>
    public bool TryGetLength(string array, out int elements) => TryCount($"LENGTH({array})", out elements);

    /// <summary>NUMBER(name): a constant or variable; decimal, or hexadecimal with 0x. Values above 2^63 − 1 appear as negative ones.</summary>
    public bool TryGetNumber(string name, out long value)
    {
        value = 0;
        if (!_values.TryGetValue($"NUMBER({name})", out string? text))
            return false;
        if (text.StartsWith("0x", StringComparison.Ordinal))
        {
            bool ok = ulong.TryParse(text.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong wide);
            value = unchecked((long)wide);
            return ok;
        }

        if (long.TryParse(text, NumberStyles.AllowLeadingSign, CultureInfo.InvariantCulture, out value))
            return true;
        bool large = ulong.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out ulong unsigned);
        value = unchecked((long)unsigned);
        return large;
    }

    /// <summary>KERNELOFFSET: by how many bytes KASLR moved the kernel image.</summary>
    public bool TryGetKernelOffset(out ulong bytes) => TryHex("KERNELOFFSET", out bytes);

    /// <summary>BUILD-ID as bytes. Garbage in stable releases that have "lib/buildid: harden build ID parsing logic" without its fix (6.1.113 to 6.1.118, 6.11.3 to 6.11.9): prefer the kernel's own <c>.notes</c>.</summary>
    public bool TryGetBuildId(out byte[] buildId)
    {
        buildId = [];
        if (!_values.TryGetValue("BUILD-ID", out string? text) || text.Length is 0 or > 128 || text.Length % 2 != 0
            || text.AsSpan().ContainsAnyExcept(HexDigits))
            return false;
        buildId = Convert.FromHexString(text);
        return true;
    }

    private static readonly System.Buffers.SearchValues<char> HexDigits = System.Buffers.SearchValues.Create("0123456789abcdefABCDEF");

    private bool TryHex(string key, out ulong value)
    {
        value = 0;
        return _values.TryGetValue(key, out string? text)
            && ulong.TryParse(text.StartsWith("0x", StringComparison.Ordinal) ? text.AsSpan(2) : text, NumberStyles.AllowHexSpecifier,
                CultureInfo.InvariantCulture, out value);
    }

    private bool TryCount(string key, out int value)
    {
        value = 0;
        return _values.TryGetValue(key, out string? text) && int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out value);
    }
}
