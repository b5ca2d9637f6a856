namespace Panacea.Kernel.Structures;

/// <summary>Members that went by different names, or lay elsewhere, in different kernels.</summary>
public static class Shapes
{
    /// <summary>The first of several members that this kernel has.</summary>
    /// <exception cref="KernelShapeException">It has none of them; the message names them all.</exception>
    public static string FirstOf(LinuxKernel kernel, params ReadOnlySpan<string> paths)
    {
        foreach (string path in paths)
        {
            if (kernel.HasMember(path))
                return path;
        }

        throw new KernelShapeException($"this kernel's types have none of {string.Join(", ", paths.ToArray())}");
    }

    /// <summary>An unsigned member under the first of its names that this kernel has; null where it has none.</summary>
    public static ulong? ReadIfAny(LinuxKernel kernel, ulong address, params ReadOnlySpan<string> paths)
    {
        foreach (string path in paths)
        {
            if (kernel.HasMember(path))
                return kernel.Read(address, path);
        }

        return null;
    }

    /// <summary>Number of elements of an array member whose elements are <paramref name="elementBytes"/> wide.</summary>
    /// <exception cref="KernelShapeException">It is no such array, or has more elements than <paramref name="max"/>.</exception>
    public static int Elements(LinuxKernel kernel, string path, int elementBytes, int max)
    {
        int bits = kernel.Image.Types.Member(path).BitSize;
        if (elementBytes <= 0 || bits % (elementBytes * 8) != 0 || bits / (elementBytes * 8) > max)
            throw new KernelShapeException($"{path} is {bits / 8} bytes, no array of at most {max} elements of {elementBytes}");
        return bits / (elementBytes * 8);
    }

    /// <summary>The number of elements of a global or per-CPU array whose elements have the given struct type, from its BTF variable; null where BTF has none (it has per-CPU ones alone).</summary>
    public static int? VariableElements(LinuxKernel kernel, string variable, string element)
    {
        if (kernel.Image.Types.Btf is not { } btf || !kernel.Image.Types.TrySizeOf(element, out int bytes) || bytes == 0
            || !btf.TryFind(System.Text.Encoding.UTF8.GetBytes(variable), Formats.Btf.BtfKind.Var, out Formats.Btf.BtfType type)
            || !btf.TrySizeOf(type.Id, out int all) || all % bytes != 0)
            return null;
        return all / bytes;
    }
}
