using System.Buffers.Binary;
using System.Text;
using Panacea.Daemon;
using Panacea.Formats.Btf;
using Panacea.Kernel;
using Panacea.Kernel.Code;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Cli.Services.Inspection;

/// <summary>Memory and code of a kernel.</summary>
internal sealed class MemoryInspection(KernelLook look) : IMemoryInspection
{
    /// <summary>Bytes that one command reads at most, and instructions that it shows.</summary>
    private const int MaxBytes = 1 << 20, MaxInstructions = 100_000;

    /// <summary>Instructions that are shown where no function says how many there are.</summary>
    private const int UsualInstructions = 20;

    private const int UsualString = 4096;

    public ReadAnswer Read(ReadRequest request) => look.Settled(kernel =>
    {
        ulong address = Addresses.Resolve(kernel, request.Where, request.Physical);
        int unit = request.As switch { "u8" => 1, "u16" => 2, "u32" => 4, "u64" => 8, "string" => 1, _ => 0 };
        if (unit == 0)
            return ReadType(kernel, address, request);
        long bytes = (long)unit * (request.Count ?? (request.As == "string" ? UsualString : 1));
        if (bytes > MaxBytes)
            throw new CliException(ExitCodes.Usage, $"{bytes} bytes are more than the {MaxBytes} that one 'read' shows; read them in parts");
        var answer = new ReadAnswer { Address = address, As = request.As, Physical = request.Physical };
        if (request.As == "string")
        {
            string text = ReadText(kernel, address, (int)bytes, request.Physical);
            return answer with { Text = text };
        }

        byte[] raw = ReadBytes(kernel, address, (int)bytes, request.Physical);
        answer = answer with { Bytes = Convert.ToHexStringLower(raw) };
        if (request.As != "u64")
            return answer;
        var explainer = new AddressExplainer(kernel, KernelLook.Limits);
        return answer with
        {
            Words = [.. Enumerable.Range(0, raw.Length / 8).Select(i =>
            {
                ulong value = BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(i * 8));
                return new WordRow(unchecked(address + ((ulong)i * 8)), value, StructPrinter.Explain(explainer, value));
            })],
        };
    });

    public DisassemblyAnswer Disassemble(DisassemblyRequest request)
    {
        LinuxKernel kernel = look.Kernel;
        ulong address = Addresses.Resolve(kernel, request.Where);
        using RepairImage? given = request.Image is null ? null : OpenImage(request.Image);
        var memory = new LiveCode(kernel.Space);
        ICodeSource image = given ?? look.Image;
        bool known = look.Image.TryFindFunction(address, out FunctionRange function);
        if (!known)
            function = new FunctionRange(address, unchecked(address + MaxBytes) < address ? ulong.MaxValue : address + MaxBytes, "");
        bool whole = known && request.Count is null;
        (ICodeSource shown, ICodeSource other) = request.Pristine ? (image, (ICodeSource)memory) : (memory, image);
        IReadOnlyList<DisassembledLine> lines = Disassembly.Around(
            shown, function, address, whole ? MaxInstructions : 0, Math.Min(MaxInstructions, whole ? MaxInstructions : (request.Count ?? UsualInstructions) - 1), Name);
        if (lines.Count == 0)
        {
            throw new CliException(ExitCodes.Target, request.Pristine
                ? $"the image has no code at 0x{address:x}" : kernel.Space.TryTranslate(new VirtualAddress(address), out _, out MemoryFault fault)
                    ? $"the code at 0x{address:x} can't be read" : $"no code can be read there: {fault}");
        }

        if (known && !whole && address != function.Start && !IsBoundary(shown, function, address))
            look.Note($"no instruction of {function.Name} begins at 0x{address:x}: the listing may be out of step");
        SymbolLocation? at = look.Image.Symbolize(address);
        return new DisassemblyAnswer(
            at?.Name, known ? function.Start : address, known ? (long)function.Length : 0, at?.Module, request.Pristine ? "image" : "memory",
            [.. lines.Select(l => Row(l, other, known && l.IsMarked && address != function.Start))]);
    }

    /// <summary>Decoding from the function's start leads to that address; where the function is too long for that, it is believed.</summary>
    private static bool IsBoundary(ICodeSource code, FunctionRange function, ulong address) =>
        Disassembly.Around(code, function, address, 1, 0) is { Count: > 1 } || address - function.Start > 64 << 10;

    private InstructionRow Row(DisassembledLine line, ICodeSource other, bool marked)
    {
        byte[] theirs = new byte[line.Bytes.Length];
        string? bytes = null, text = null;
        if (other.TryReadCode(line.Address, theirs) && !theirs.AsSpan().SequenceEqual(line.Bytes.Span))
        {
            bytes = Convert.ToHexStringLower(theirs);
            IReadOnlyList<DisassembledLine> one = Disassembly.Around(other, new FunctionRange(line.Address, line.Address + 16, ""), line.Address, 0, 0, Name);
            text = one.Count > 0 ? one[0].Text : null;
        }

        return new InstructionRow(line.Address, Convert.ToHexStringLower(line.Bytes.Span), line.Text, marked, bytes, text);
    }

    private string? Name(ulong address) => look.Image.Symbolize(address)?.ToShortString();

    private RepairImage OpenImage(string file)
    {
        RepairImage image = RepairImage.Open(file, StatePaths.Images);
        if (image.Meta.BuildId == look.Image.Meta.BuildId && image.Meta.Banner == look.Image.Meta.Banner && image.Meta.TextBase == look.Image.Meta.TextBase)
            return image;
        using (image)
            throw new CliException(ExitCodes.Image, $"the image {Path.GetFileName(file)} is of another kernel or another boot (KASLR); build one of this boot before you need it");
    }

    private ReadAnswer ReadType(LinuxKernel kernel, ulong address, ReadRequest request)
    {
        BtfType type = KernelTypes.Find(look.Image, request.As)
            ?? throw new CliException(ExitCodes.NotFound, $"'{request.As}' is neither u8, u16, u32, u64, string nor a type of this guest");
        if (!type.Data.TrySizeOf(type.Id, out int size) || size == 0)
            throw new CliException(ExitCodes.Usage, $"the type '{request.As}' has no size");
        int count = request.Count ?? 1;
        if ((long)size * count > MaxBytes)
            throw new CliException(ExitCodes.Usage, $"{count} of '{request.As}' are {(long)size * count} bytes, more than the {MaxBytes} that one 'read' shows");
        byte[] raw = ReadBytes(kernel, address, size * count, request.Physical);
        var printer = new StructPrinter(new AddressExplainer(kernel, KernelLook.Limits));
        for (int i = 0; i < count; i++)
            printer.Add(type, raw.AsMemory(i * size, size), (long)i * size, count == 1 ? "" : $"[{i}]");
        return new ReadAnswer { Address = address, As = BtfFormatter.TypeName(type), Physical = request.Physical, Members = printer.Rows };
    }

    private byte[] ReadBytes(LinuxKernel kernel, ulong address, int count, bool physical)
    {
        byte[] raw = new byte[count];
        if (!physical)
            kernel.Space.Read(new VirtualAddress(address), raw, "memory");
        else if (!look.Memory.TryRead(new PhysicalAddress(address), raw, out MemoryFault fault))
            throw new GuestMemoryException(fault, "memory");
        return raw;
    }

    private string ReadText(LinuxKernel kernel, ulong address, int most, bool physical)
    {
        if (!physical)
            return kernel.Space.TryReadString(new VirtualAddress(address), most, out string text, out MemoryFault fault) ? text : throw new GuestMemoryException(fault, "a string");

        // Page by page: the next one may not be there, and the string need not reach it.
        var bytes = new List<byte>();
        while (bytes.Count < most)
        {
            ulong at = unchecked(address + (ulong)bytes.Count);
            byte[] part = ReadBytes(kernel, at, (int)Math.Min((ulong)(most - bytes.Count), 4096 - (at & 4095)), physical: true);
            int nul = Array.IndexOf(part, (byte)0);
            bytes.AddRange(nul < 0 ? part : part[..nul]);
            if (nul >= 0)
                break;
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }
}
