namespace Panacea.Target;

/// <summary>Ceilings for everything that a guest or a dump says: counts, lengths, chains. One object, so that hostile input has one answer.</summary>
public sealed record TargetLimits
{
    /// <summary>The limits used unless a caller has a reason for others.</summary>
    public static TargetLimits Default { get; } = new();

    /// <summary>Largest kernel image (text to end of bss) in bytes; Linux's own ceiling is 1 GiB (KERNEL_IMAGE_SIZE, arch/x86/include/asm/page_64_types.h).</summary>
    public long MaxKernelImageBytes { get; init; } = 1L << 30;

    /// <summary>Symbols of the kernel and its modules together.</summary>
    public int MaxSymbols { get; init; } = 2_000_000;

    /// <summary>Bytes of one BTF blob.</summary>
    public int MaxBtfBytes { get; init; } = 64 << 20;

    /// <summary>Unwind rows of the kernel and its modules together.</summary>
    public int MaxOrcRows { get; init; } = 16_000_000;

    /// <summary>Loaded modules.</summary>
    public int MaxModules { get; init; } = 4096;

    /// <summary>Bytes of one module's memory of one kind.</summary>
    public int MaxModuleBytes { get; init; } = 256 << 20;

    /// <summary>Tasks (threads).</summary>
    public int MaxTasks { get; init; } = 4_194_304;

    /// <summary>vCPUs.</summary>
    public int MaxCpus { get; init; } = 8192;

    /// <summary>Frames of one stack.</summary>
    public int MaxStackFrames { get; init; } = 256;

    /// <summary>Bytes of one string read from a guest (names, command lines).</summary>
    public int MaxStringBytes { get; init; } = 64 << 10;

    /// <summary>Bytes of the printk ring buffers.</summary>
    public int MaxPrintkBytes { get; init; } = 256 << 20;

    /// <summary>Bytes of a dump's pages that are kept unpacked at a time.</summary>
    public int MaxDumpCacheBytes { get; init; } = 32 << 20;

    /// <summary>Bytes of a raw memory image that are searched for the kernel's VMCOREINFO.</summary>
    public long MaxSearchBytes { get; init; } = 256L << 30;

    /// <summary>Elements of any other chain that a guest holds.</summary>
    public int MaxChain { get; init; } = 1_000_000;
}
