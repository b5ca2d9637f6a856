using Panacea.Formats.Elf;
using Panacea.Target;

namespace Panacea.Kernel.Subsystems;

/// <summary>GNU build ids of loaded modules, as the kernel keeps them.</summary>
public static class ModuleBuildIds
{
    private const int IdBytes = 20, MaxNoteSections = 64, MaxNoteBytes = 4096;

    /// <summary>The build id of a module.</summary>
    /// <param name="kernel">The kernel.</param>
    /// <param name="module">Guest-virtual address of its struct module.</param>
    /// <returns>Lower-case hex; null where the module has none, or where this kernel keeps none.</returns>
    /// <exception cref="GuestMemoryException">What the kernel keeps of it can't be read.</exception>
    /// <exception cref="KernelShapeException">It makes no sense.</exception>
    public static string? Read(LinuxKernel kernel, ulong module)
    {
        // module.build_id exists with CONFIG_STACKTRACE_BUILD_ID (include/linux/module.h); it is zero where there is none.
        if (kernel.HasMember("module.build_id"))
        {
            byte[] id = new byte[IdBytes];
            kernel.Space.Read(new VirtualAddress(unchecked(module + kernel.Offset("module.build_id"))), id, "module.build_id");
            if (id.AsSpan().ContainsAnyExcept((byte)0))
                return Convert.ToHexStringLower(id);
        }

        return OfNotes(kernel, module);
    }

    /// <summary>/sys/module/NAME/notes: one bin_attribute a note section, whose <c>private</c> is the section's address (kernel/module/sysfs.c, add_notes_attrs). The number of them stands beside them in
    /// kernels to 6.13; since then an array of pointers in an attribute_group ends with NULL.</summary>
    private static string? OfNotes(LinuxKernel kernel, ulong module)
    {
        if (!kernel.HasMember("module.notes_attrs") || !kernel.HasMember("module_notes_attrs.attrs") || !kernel.HasMember("bin_attribute.private"))
            return null;
        ulong notes = kernel.Read(module, "module.notes_attrs");
        if (notes == 0)
            return null;
        uint count = kernel.HasMember("module_notes_attrs.notes") ? kernel.ReadU32(notes, "module_notes_attrs.notes") : MaxNoteSections;
        ulong listed = kernel.HasMember("module_notes_attrs.grp.bin_attrs") ? kernel.Read(notes, "module_notes_attrs.grp.bin_attrs") : 0;
        ulong first = unchecked(notes + kernel.Offset("module_notes_attrs.attrs"));
        for (uint i = 0; i < Math.Min(count, MaxNoteSections); i++)
        {
            ulong attribute = listed == 0 ? unchecked(first + i * (ulong)kernel.Image.Types.SizeOf("bin_attribute")) : kernel.ReadU64(unchecked(listed + i * 8UL), "module_notes_attrs.grp.bin_attrs");
            if (attribute == 0)
                break;
            ulong size = kernel.Read(attribute, "bin_attribute.size");
            if (size is 0 or > MaxNoteBytes)
                continue;
            byte[] section = new byte[(int)size];
            kernel.Space.Read(new VirtualAddress(kernel.Read(attribute, "bin_attribute.private")), section, "a module's notes");
            if (ElfNotes.TryFindBuildId(section, out ReadOnlyMemory<byte> id))
                return Convert.ToHexStringLower(id.Span);
        }

        return null;
    }
}
