using System.Buffers.Binary;
using Panacea.Formats.Orc;
using Panacea.Kernel.Code;
using Panacea.Kernel.Unwind;
using Panacea.Target;
using Panacea.Target.Paging;

namespace Panacea.Kernel.Tests.Unwind;

/// <summary>Pages of guest memory behind real page tables.</summary>
internal sealed class SyntheticStacks : IGuestMemory, IStackMap
{
    private const int PageSize = 4096;
    private readonly byte[] _ram = new byte[256 * PageSize];
    private readonly List<StackBounds> _stacks = [];
    private int _pages = 1;

    public IReadOnlyList<PhysicalRange> Ranges => [new PhysicalRange(new PhysicalAddress(0), (ulong)_ram.Length)];

    public AddressSpace Space => new(this, new PhysicalAddress(0), PagingMode.FourLevel);

    /// <summary>Maps a stack.</summary>
    public SyntheticStacks Stack(StackKind kind, ulong start, int bytes, int cpu = -1)
    {
        for (ulong at = start; at < start + (ulong)bytes; at += PageSize)
            Map(at);
        _stacks.Add(new StackBounds(start, start + (ulong)bytes, kind, cpu));
        return this;
    }

    /// <summary>A stack that is known but not mapped.</summary>
    public SyntheticStacks Unmapped(StackKind kind, ulong start, int bytes)
    {
        _stacks.Add(new StackBounds(start, start + (ulong)bytes, kind));
        return this;
    }

    /// <summary>Writes a 64-bit value.</summary>
    public SyntheticStacks Put(ulong address, ulong value)
    {
        Assert.True(Space.TryTranslate(new VirtualAddress(address), out Translation t, out MemoryFault fault), fault.ToString());
        BinaryPrimitives.WriteUInt64LittleEndian(_ram.AsSpan((int)t.Physical.Value), value);
        return this;
    }

    /// <summary>Writes a struct pt_regs.</summary>
    public SyntheticStacks Put(ulong address, PtRegs regs)
    {
        byte[] raw = new byte[PtRegs.Size];
        regs.Write(raw);
        for (int i = 0; i < raw.Length; i += 8)
            Put(address + (ulong)i, BinaryPrimitives.ReadUInt64LittleEndian(raw.AsSpan(i)));
        return this;
    }

    public bool TryFind(ulong address, out StackBounds stack) => new StackMap(_stacks).TryFind(address, out stack);

    public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
    {
        fault = new MemoryFault(MemoryFaultKind.NotBacked, address.Value, IsPhysical: true);
        if (address.Value > (ulong)_ram.Length || (ulong)destination.Length > (ulong)_ram.Length - address.Value)
            return false;
        _ram.AsSpan((int)address.Value, destination.Length).CopyTo(destination);
        fault = default;
        return true;
    }

    private void Map(ulong address)
    {
        int table = 0;
        for (int level = 4; level >= 1; level--)
        {
            int slot = table + ((int)((address >> (12 + (9 * (level - 1)))) & 511) * 8);
            ulong entry = BinaryPrimitives.ReadUInt64LittleEndian(_ram.AsSpan(slot));
            if (entry == 0)
            {
                entry = ((ulong)_pages++ * PageSize) | 3;
                BinaryPrimitives.WriteUInt64LittleEndian(_ram.AsSpan(slot), entry);
            }

            table = (int)(entry & ~4095UL);
        }
    }
}

/// <summary>A little kernel: assembled functions with hand-written unwind rows.</summary>
internal sealed class SyntheticText : ICodeSource, IFunctionLookup, ITextMap, IOrcLookup
{
    private readonly List<(Code.AssembledFunction Function, IOrcLookup Rows)> _functions = [];

    public Dictionary<ulong, string> Trampolines { get; } = [];

    public Code.AssembledFunction Add(Code.AssembledFunction function, IOrcLookup rows)
    {
        _functions.Add((function, rows));
        return function;
    }

    public bool TryReadCode(ulong address, Span<byte> destination)
    {
        foreach ((Code.AssembledFunction function, _) in _functions)
        {
            if (function.Code.TryReadCode(address, destination))
                return true;
        }

        return false;
    }

    public bool TryFindFunction(ulong address, out FunctionParts function)
    {
        function = _functions.Find(f => f.Function.Range.Contains(address)).Function?.Parts ?? default;
        return function.Main.Length != 0;
    }

    public bool IsText(ulong address) => TryFindFunction(address, out _);

    public string? TrampolineName(ulong address) => Trampolines.GetValueOrDefault(address);

    public bool TryFind(ulong instruction, out OrcEntry entry)
    {
        entry = default;
        foreach ((Code.AssembledFunction function, IOrcLookup rows) in _functions)
        {
            if (function.Range.Contains(instruction))
                return rows.TryFind(instruction, out entry);
        }

        return false;
    }
}
