using Panacea.Formats.Orc;
using Panacea.Kernel.Memory;
using Panacea.Kernel.Subsystems;
using Panacea.Target;

namespace Panacea.Kernel.Image;

/// <summary>Learns the modules of a guest. Of those that an earlier image knows nothing is read again: while the guest stands still at a crash there is no time for it, and their text may
/// have been damaged since.</summary>
/// <param name="kernel">The kernel over the guest's memory.</param>
/// <param name="previous">An earlier image of the same boot; null where there is none.</param>
/// <param name="limits">Ceilings.</param>
/// <param name="isStill">The guest stands still: modules on their way in or out are taken too.</param>
internal sealed class ModuleReader(LinuxKernel kernel, RepairImage? previous, TargetLimits limits, bool isStill)
{
    private const uint Live = 0, Going = 2;

    /// <summary>Pages that are kept while one module is read.</summary>
    private const int MaxPages = 1024;

    private readonly List<ImageModule> _modules = [];
    private readonly List<ImageContainer.Section> _sections = [];
    private readonly Dictionary<uint, uint> _known = [];

    /// <summary>The modules, by owner number from 1.</summary>
    public IReadOnlyList<ImageModule> Modules => _modules;

    /// <summary>Their sections.</summary>
    public IReadOnlyList<ImageContainer.Section> Sections => _sections;

    /// <summary>The owner numbers that modules have here, and those that they had in the earlier image: their tables are the same.</summary>
    public IReadOnlyDictionary<uint, uint> Known => _known;

    /// <summary>Reads them.</summary>
    /// <param name="orcVersion">Version of unwind rows; null where the kernel has none that can be used.</param>
    /// <returns>False where the list would not hold still or can't be read.</returns>
    public bool TryRead(OrcVersion? orcVersion)
    {
        if (TryEnumerate() is not { } found)
            return false;
        IReadOnlyDictionary<ulong, ulong>? types = null;
        string unloaded = kernel.Image.TryFindSymbol("last_unloaded_module", out ulong last) && kernel.Space.TryReadString(new VirtualAddress(last), 64, out string name, out _) ? name : "";
        foreach (LinuxModule module in found)
        {
            // A module on its way in or out: in a guest that runs its text may vanish under a reader, and it is taken at the next refresh.
            if ((module.State != Live && !isStill) || module.Memory.Count == 0)
                continue;
            uint owner = (uint)_modules.Count + 1;
            if (Find(module, unloaded) is { } known)
            {
                _sections.AddRange(previous!.Sections.Where(s => s.Owner == known.Owner).Select(s => s with { Owner = owner }));
                _modules.Add(known with { Owner = owner, Taints = module.Taints });
                _known.Add(owner, known.Owner);
                continue;
            }

            // Its tables are read by the word, and lie close together: a page of it, and of the tables by which addresses are translated, is fetched once.
            LinuxKernel close = isStill ? kernel : kernel.Image.KernelOver(new EvidenceMemory(kernel.Space.Memory, MaxPages));
            ulong symbolBase = new ModuleSections(close, types ??= ModuleSections.FindTypes(kernel, limits), limits).AddTo(_sections, owner, module, orcVersion);
            _modules.Add(new ImageModule(owner, module.Name, module.Address, module.Taints, module.Memory, module.Tables.OrcIps, symbolBase) { LoadId = module.LoadId });
        }

        return true;
    }

    /// <summary>The module as the earlier image has it, where it is the same one and the image has all of it: one that was on its way in when it was read may have lacked something. It lies
    /// where it lay, all of it, and comes of the same load; where loads can't be told apart, one that was loaded again could lie there too, and is then the last one unloaded, too.</summary>
    private ImageModule? Find(LinuxModule module, string unloaded)
    {
        if (previous is null || module.State is not (Live or Going) || (module.LoadId == 0 && module.Name == unloaded))
            return null;
        ImageModule? known = previous.Meta.Modules.FirstOrDefault(m => m.Address == module.Address && m.Name == module.Name && m.LoadId == module.LoadId
            && m.OrcIpsAddress == module.Tables.OrcIps && m.Memory.SequenceEqual(module.Memory));
        return known is not null && previous.HasSection(ImageSection.Text, known.Owner) && previous.HasSection(ImageSection.Symbols0, known.Owner)
            && (module.Tables.OrcCount == 0 || previous.HasSection(ImageSection.OrcRows, known.Owner)) ? known : null;
    }

    /// <summary>The modules on the list; of a guest that runs, as two reads agree on them.</summary>
    private List<LinuxModule>? TryEnumerate()
    {
        List<LinuxModule>? before = null;
        for (int attempt = 0; attempt < 8; attempt++)
        {
            try
            {
                List<LinuxModule> now = Subsystems.Modules.Enumerate(kernel, limits);
                if (isStill || (before is not null && now.Select(m => (m.Address, m.Name, m.State)).SequenceEqual(before.Select(m => (m.Address, m.Name, m.State)))))
                    return now;
                before = now;
            }
            catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
            {
                if (isStill)
                    return null;
                before = null;
            }
        }

        return null;
    }
}
