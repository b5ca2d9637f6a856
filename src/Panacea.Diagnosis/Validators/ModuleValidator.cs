using Panacea.Kernel;
using Panacea.Kernel.Subsystems;

namespace Panacea.Diagnosis.Validators;

/// <summary>Loaded modules (kernel/module/main.c).</summary>
public sealed class ModuleValidator : IValidator
{
    private const uint Live = 0, Unformed = 3;

    /// <inheritdoc/>
    public string Name => "modules";

    /// <inheritdoc/>
    public string Description => "module list both ways, states, names, memory inside the module area and not shared, exit functions";

    /// <inheritdoc/>
    public ValidatorResult Check(CheckContext context)
    {
        LinuxKernel kernel = context.Kernel;
        var notes = new CheckNotes(context, "modules");
        AddressLayout layout = AddressLayout.Read(kernel);
        var taken = new List<(ModuleMemory Memory, string Name)>();
        var names = new HashSet<string>(StringComparer.Ordinal);
        foreach (ulong module in Rings.Entries(context, notes, kernel.Symbol("modules"), "module.list", "module list", context.Limits.MaxModules))
        {
            notes.Guard($"the module at 0x{module:x}", () =>
            {
                notes.Count("modules");
                string name = kernel.ReadText(module, "module.name"), who = $"the module at 0x{module:x} ({name})";
                uint state = kernel.ReadU32(module, "module.state");
                if (state > Unformed)
                    notes.Found("state", Confidence.High, $"{who} is in state {state}, which there is not");
                if (name.Length == 0 || name.Any(c => c <= ' ' || c > '~'))
                    notes.Found("name", Confidence.High, $"{who} has a name that no module has");
                else if (!names.Add(name))
                    notes.Found("name", Confidence.High, $"{who} has the name of another module");
                if (layout.RegionOf(module) != AddressRegion.Modules)
                    notes.Found("place", Confidence.High, $"{who} lies outside of the area of modules");
                if (state == Unformed)
                    return;
                LinuxModule read = Modules.ReadOne(kernel, module, context.Limits);
                foreach (ModuleMemory memory in read.Memory)
                {
                    notes.Count("memory areas");
                    if (layout.RegionOf(memory.Start) != AddressRegion.Modules || layout.RegionOf(memory.Start + memory.Size - 1) != AddressRegion.Modules)
                        notes.Found("place", Confidence.High, $"{who} has memory outside of the area of modules: 0x{memory.Start:x}, {memory.Size} bytes");
                    foreach ((ModuleMemory other, string whose) in taken.Where(t => memory.Start < t.Memory.Start + t.Memory.Size && t.Memory.Start < memory.Start + memory.Size))
                        notes.Found("overlap", Confidence.High, $"{who} and the module {whose} share memory at 0x{Math.Max(memory.Start, other.Start):x}");
                    taken.Add((memory, name));
                }

                if (state == Live && kernel.HasMember("module.exit") && kernel.Read(module, "module.exit") is var exit && exit != 0 && !read.Memory.Any(m => m.IsText && unchecked(exit - m.Start) < m.Size))
                    notes.Found("exit", Confidence.High, $"{who} has its exit function at 0x{exit:x}, outside of its text");
                if (state == Live && kernel.HasMember("module.mkobj.mod") && kernel.Read(module, "module.mkobj.mod") is var back && back != module)
                    notes.Found("back-pointer", Confidence.High, $"the kobject of {who} belongs to the module 0x{back:x}");
            });
        }

        // A kernel without a module is a whole one.
        notes.Count("lists");
        return notes.Done();
    }
}
