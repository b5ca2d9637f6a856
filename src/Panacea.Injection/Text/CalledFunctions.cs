namespace Panacea.Injection.Text;

/// <summary>Functions of the kernel that copy, allocate and free, by symbol. Newer kernels have some of them with a suffix (<c>_noprof</c>, since 6.10, commit b951aaff5035, "mm: enable page allocation tagging"):
/// it does not count.</summary>
internal static class CalledFunctions
{
    private const string NoProfile = "_noprof";

    private static readonly HashSet<string> Copies =
    [
        "memcpy", "__memcpy", "memmove", "__memmove", "memset", "__memset", "_copy_from_user", "_copy_to_user", "copy_user_generic_unrolled", "copy_user_enhanced_fast_string", "rep_movs_alternative",
        "copy_from_kernel_nofault", "memcpy_orig", "strscpy", "strncpy", "strlcpy",
    ];

    private static readonly HashSet<string> Allocators =
    [
        "__kmalloc", "__kmalloc_node", "__kmalloc_cache", "__kmalloc_cache_node", "__kmalloc_large", "__kmalloc_large_node", "__kmalloc_track_caller", "__kmalloc_node_track_caller", "kmalloc_trace", "kmalloc_node_trace",
        "kmalloc_large", "kmalloc_large_node", "kmem_cache_alloc", "kmem_cache_alloc_lru", "kmem_cache_alloc_node", "kmem_cache_alloc_trace", "kmem_cache_alloc_node_trace", "kvmalloc_node", "__kvmalloc_node",
        "vmalloc", "vzalloc", "__vmalloc", "__vmalloc_node", "__alloc_pages", "alloc_pages", "__alloc_skb", "__get_free_pages", "get_zeroed_page", "kmemdup", "kstrdup", "krealloc", "mempool_alloc", "__alloc_percpu",
        "__alloc_percpu_gfp", "bio_alloc_bioset",
    ];

    private static readonly HashSet<string> Frees =
    [
        "kfree", "kvfree", "kfree_sensitive", "kmem_cache_free", "vfree", "__free_pages", "free_pages", "__free_page", "mempool_free", "free_percpu", "kfree_const",
    ];

    /// <summary>It copies or sets as many bytes as its third argument says.</summary>
    public static bool IsCopy(string? name) => name is not null && Copies.Contains(name);

    /// <summary>It returns memory, or NULL.</summary>
    public static bool Allocates(string? name) => name is not null && Allocators.Contains(name.EndsWith(NoProfile, StringComparison.Ordinal) ? name[..^NoProfile.Length] : name);

    /// <summary>It frees memory and returns nothing.</summary>
    public static bool IsFree(string? name) => name is not null && Frees.Contains(name);
}
