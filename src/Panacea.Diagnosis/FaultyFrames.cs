using Panacea.Kernel.Image;
using Panacea.Kernel.Unwind;

namespace Panacea.Diagnosis;

/// <summary>Which frame of a crashed stack is to blame.</summary>
internal static class FaultyFrames
{
    /// <summary>Functions that do what they are told: a fault in one is its caller's. Names as in lib/ and arch/x86/lib/.</summary>
    private static readonly HashSet<string> Generic = new(StringComparer.Ordinal)
    {
        "memcpy", "__memcpy", "memcpy_orig", "memcpy_erms", "memset", "__memset", "memset_orig", "memset_erms", "memmove", "__memmove", "memcmp", "bcmp", "memchr", "memscan", "strlen", "strnlen",
        "strcpy", "strncpy", "strscpy", "sized_strscpy", "strlcpy", "strcmp", "strncmp", "strchr", "strrchr", "strstr", "strcat", "strlcat", "clear_page_erms", "clear_page_rep", "clear_page_orig", "copy_page",
        "rep_movs_alternative", "rep_stos_alternative", "copy_user_generic_string", "copy_user_enhanced_fast_string", "copy_user_generic_unrolled", "copy_user_fast_string", "_copy_to_user", "_copy_from_user",
        "__list_add_valid", "__list_del_entry_valid", "__list_add_valid_or_report", "__list_del_entry_valid_or_report", "__x86_indirect_thunk_array",
    };

    /// <summary>Functions through which others report that something is wrong: a panic from one is its caller's.</summary>
    private static readonly HashSet<string> Reporters = new(StringComparer.Ordinal)
    {
        "panic", "vpanic", "nmi_panic", "__stack_chk_fail", "fortify_panic", "__fortify_panic", "usercopy_abort", "check_panic_on_warn", "__warn", "warn_slowpath_fmt", "__warn_printk",
    };

    /// <summary>Index of the frame of the function at fault, or null with the reason.</summary>
    /// <param name="image">Symbols.</param>
    /// <param name="stack">The crashed stack.</param>
    /// <param name="isTrap">True for a trap, false where panic() was called.</param>
    /// <param name="whyNot">Why there is none.</param>
    public static int? Find(RepairImage image, Backtrace stack, bool isTrap, out string? whyNot)
    {
        whyNot = null;
        for (int i = 0; i < stack.Frames.Count; i++)
        {
            StackFrame frame = stack.Frames[i];
            if (frame.Reliability != FrameReliability.Exact)
                break;
            string? name = image.IsText(frame.Ip) ? image.Symbolize(frame.Point.LookupAddress)?.Name : null;

            // A call through a bad pointer leaves RIP outside text; the caller is to blame.
            if (name is null)
            {
                if (i == 0 && isTrap)
                    continue;
                break;
            }

            if (Generic.Contains(name) || name.StartsWith("__x86_indirect_", StringComparison.Ordinal) || (!isTrap && Reporters.Contains(name)))
                continue;
            return i;
        }

        whyNot = "no frame of the stack could be proved to be the faulty function's";
        return null;
    }
}
