namespace Panacea.Kernel.Replay;

/// <summary>Functions that fill or copy a block of memory and do nothing else (arch/x86/lib): what they have done once they can do again.</summary>
/// <param name="Copies">It copies; else it fills.</param>
/// <param name="IsPage">The block is a page; else its third argument says how long it is.</param>
public readonly record struct BlockFunctions(bool Copies, bool IsPage)
{
    /// <summary>The one of that name; null for another function. memmove() is none: where it has been halfway it can't be again.</summary>
    public static BlockFunctions? Find(string name) => name switch
    {
        "memset" or "__memset" or "memset_orig" or "memset_erms" => new BlockFunctions(false, false),
        "memcpy" or "__memcpy" or "memcpy_orig" or "memcpy_erms" => new BlockFunctions(true, false),
        "clear_page_orig" or "clear_page_rep" or "clear_page_erms" => new BlockFunctions(false, true),
        "copy_page" or "copy_page_regs" => new BlockFunctions(true, true),
        _ => null,
    };
}
