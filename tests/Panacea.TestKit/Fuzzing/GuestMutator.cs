using Panacea.TestKit.Memory;

namespace Panacea.TestKit.Fuzzing;

/// <summary>Damages the memory of a synthetic guest, and undoes it: the guest is built once.</summary>
/// <param name="memory">The guest's memory as it is healthy.</param>
/// <param name="regions">What is damaged, guest-physical: the structures that the target looks at.</param>
/// <param name="pointers">Addresses that pointers of the guest have: written elsewhere they make cycles, wrong types, crossed lists.</param>
public sealed class GuestMutator(SparsePhysicalMemory memory, IReadOnlyList<(ulong Physical, int Bytes)> regions, IReadOnlyList<ulong> pointers)
{
    private static readonly ulong[] Addresses =
    [
        0xffff_8880_0000_0000, 0xffff_8880_0000_0001, 0xffff_8880_03ff_fff9, 0xffff_c900_0000_0000, 0xffff_ffff_8000_0000, 0xffff_ffff_ffff_f000, 0x57ac_6e9d, 0xdead_0000_0000_0100, 0xdead_0000_0000_0122,
        0x6b6b_6b6b_6b6b_6b6b, 0x4141_4141_4141_4141,
    ];

    private bool _kept;

    /// <summary>Runs one case: damage, look, and all is as it was.</summary>
    public void Case(Random random, Action look)
    {
        if (!_kept)
            memory.Keep();
        _kept = true;
        try
        {
            for (int edits = random.Next(1, 12); edits > 0; edits--)
                Edit(random);
            look();
        }
        finally
        {
            memory.Revert();
        }
    }

    private void Edit(Random random)
    {
        (ulong physical, int bytes) = regions[random.Next(regions.Count)];
        ulong at = physical + (ulong)random.Next(bytes);
        Span<byte> raw = stackalloc byte[8];
        int width = 8;
        switch (random.Next(8))
        {
            case 0:
                (width, raw[0]) = (1, (byte)random.Next(256));
                break;
            case 1:
                width = 1 << random.Next(4);
                BitConverter.TryWriteBytes(raw, ByteMutator.Edges[random.Next(ByteMutator.Edges.Count)]);
                break;
            case 2:
                BitConverter.TryWriteBytes(raw, ByteMutator.Edges[random.Next(ByteMutator.Edges.Count)]);
                break;
            case 3:
                BitConverter.TryWriteBytes(raw, unchecked((ulong)random.NextInt64(long.MinValue, long.MaxValue)));
                break;
            case 4:
                BitConverter.TryWriteBytes(raw, Addresses[random.Next(Addresses.Length)]);
                break;
            case 5:
                at &= ~7UL;
                BitConverter.TryWriteBytes(raw, unchecked(memory.ReadUInt64(at) + (ulong)random.Next(-8, 9)));
                break;
            default:
                ulong pointer = pointers.Count == 0 ? 0 : unchecked(pointers[random.Next(pointers.Count)] + (ulong)(random.Next(4) == 0 ? random.Next(-64, 256) & ~7 : 0));
                BitConverter.TryWriteBytes(raw, pointer);
                break;
        }

        if (width == 8)
            at &= ~7UL;
        memory.Write(at, raw[..width]);
    }
}
