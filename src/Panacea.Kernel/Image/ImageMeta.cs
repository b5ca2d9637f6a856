using System.Text.Json.Serialization;

namespace Panacea.Kernel.Image;

/// <summary>A module as it was when the image was made.</summary>
/// <param name="Owner">The owner number of its sections in the image.</param>
/// <param name="Name">Name.</param>
/// <param name="Address">Guest-virtual address of its struct module.</param>
/// <param name="Taints">Taint bits.</param>
/// <param name="Memory">Its memory.</param>
/// <param name="OrcIpsAddress">Guest-virtual address of its .orc_unwind_ip, 0 where it has none.</param>
/// <param name="SymbolBase">Address that its symbol table counts from, 0 where it has none.</param>
public sealed record ImageModule(
    uint Owner, string Name, ulong Address, ulong Taints, IReadOnlyList<Subsystems.ModuleMemory> Memory, ulong OrcIpsAddress, ulong SymbolBase = 0)
{
    /// <summary>See <see cref="Subsystems.LinuxModule.LoadId"/>.</summary>
    public ulong LoadId { get; init; }

    /// <summary>True where the module's memory holds the address.</summary>
    public bool Contains(ulong address)
    {
        foreach (Subsystems.ModuleMemory m in Memory)
        {
            if (unchecked(address - m.Start) < m.Size)
                return true;
        }

        return false;
    }

    /// <summary>First text address, 0 where it has none left.</summary>
    [JsonIgnore]
    public ulong TextStart => Memory.FirstOrDefault(m => m.IsText).Start;
}

/// <summary>A place where the kernel passes on its way to death.</summary>
/// <param name="Symbol">Its name.</param>
/// <param name="Address">Guest-virtual address of its entry.</param>
/// <param name="EntryNopLength">Bytes of NOPs and ENDBR64 at its entry, 0 where there are none: a stop there can be passed by moving RIP.</param>
public sealed record DeathPoint(string Symbol, ulong Address, int EntryNopLength);

/// <summary>Kernel text that could not be read when the image was made.</summary>
/// <param name="Start">First address.</param>
/// <param name="Length">Bytes; never zero.</param>
public sealed record TextGap(ulong Start, ulong Length);

/// <summary>What identifies the kernel of a repair image and where things lie in it. Addresses are guest-virtual unless they say otherwise.</summary>
public sealed record ImageMeta
{
    /// <summary>uname -r.</summary>
    public required string Release { get; init; }

    /// <summary>linux_banner: version, compiler, build time.</summary>
    public required string Banner { get; init; }

    /// <summary>GNU build id, lower-case hex; null where the kernel has none.</summary>
    public string? BuildId { get; init; }

    /// <summary>_text as it runs: with the link address it gives the KASLR offset.</summary>
    public required ulong TextBase { get; init; }

    /// <summary>_stext.</summary>
    public required ulong TextStart { get; init; }

    /// <summary>_etext.</summary>
    public required ulong TextEnd { get; init; }

    /// <summary>Guest-physical address of swapper_pg_dir: the page-table root that maps the kernel whatever task runs.</summary>
    public required ulong RootPhysical { get; init; }

    /// <summary>4 or 5.</summary>
    public required int PagingLevels { get; init; }

    /// <summary>Memory-encryption bit, 0 where there is none.</summary>
    public ulong EncryptionMask { get; init; }

    /// <summary>Address of the trap table (IDT), 0 where unknown.</summary>
    public ulong TrapTableAddress { get; init; }

    /// <summary>Base of each CPU's per-CPU area, by CPU number.</summary>
    public required IReadOnlyList<ulong> PerCpuBases { get; init; }

    /// <summary>Modules, by owner number from 1.</summary>
    public required IReadOnlyList<ImageModule> Modules { get; init; }

    /// <summary>Death points in this kernel.</summary>
    public required IReadOnlyList<DeathPoint> DeathPoints { get; init; }

    /// <summary>Address of .orc_unwind_ip, 0 where the kernel has none.</summary>
    public ulong OrcIpsAddress { get; init; }

    /// <summary>Version of the unwind rows, of the kernel and its modules alike.</summary>
    public Formats.Orc.OrcVersion OrcVersion { get; init; }

    /// <summary>What this kernel lacks and what that costs, in sentences.</summary>
    public required IReadOnlyList<string> Without { get; init; }

    /// <summary>Text that the image lacks, ascending: none where it was made from a living guest.</summary>
    public IReadOnlyList<TextGap> TextGaps { get; init; } = [];

    /// <summary>VMCOREINFO as the kernel exports it, KEY=VALUE lines; null where it has none.</summary>
    public string? VmcoreInfo { get; init; }

    /// <summary>Looks at what came out of a file: JSON may say null where nothing else may.</summary>
    /// <exception cref="InvalidDataException">It makes no sense.</exception>
    internal void Check()
    {
        bool whole = Release is not null && Banner is not null && PerCpuBases is not null && Without is not null && DeathPoints is not null && Modules is not null
            && TextGaps is not null && TextGaps.All(g => g is not null) && DeathPoints.All(p => p is { Symbol: not null }) && Modules.All(m => m is { Name: not null, Memory: not null, Owner: > 0 });
        if (!whole || PagingLevels is not (4 or 5) || TextEnd < TextStart || TextBase == 0 || Modules!.DistinctBy(m => m.Owner).Count() != Modules!.Count)
            throw new InvalidDataException("what it says of its kernel makes no sense");
    }
}

[JsonSourceGenerationOptions(PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower)]
[JsonSerializable(typeof(ImageMeta))]
internal sealed partial class ImageMetaJson : JsonSerializerContext;
