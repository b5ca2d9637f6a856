namespace Panacea.Diagnosis;

/// <summary>Taint flags (include/linux/panic.h, kernel/panic.c: taint_flags).</summary>
public static class Taints
{
    private const string Set = "PFSRMBUDAWCIOELKXTN";

    /// <summary>Letters of the flags that are set, in the kernel's order; "none" where none is.</summary>
    public static string Letters(ulong mask)
    {
        var letters = new List<char>();
        for (int bit = 0; bit < Set.Length; bit++)
        {
            if ((mask >> bit & 1) != 0)
                letters.Add(Set[bit]);
        }

        return letters.Count == 0 ? "none" : new string([.. letters]);
    }
}
