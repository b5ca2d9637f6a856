namespace Panacea.TestKit.Linux;

public sealed partial class SyntheticKernel
{
    /// <summary>Makes nodes a balanced red-black tree in the given order.</summary>
    /// <param name="root">Address of the rb_root or, where <paramref name="cached"/>, rb_root_cached.</param>
    /// <param name="nodes">Addresses of the rb_nodes.</param>
    /// <param name="cached">The leftmost node is kept beside the root.</param>
    public void Tree(ulong root, IReadOnlyList<ulong> nodes, bool cached = false)
    {
        WriteU64(root, Half(0, nodes.Count, 0, 0));
        if (cached)
            WriteU64(root + 8, nodes.Count == 0 ? 0 : nodes[0]);

        ulong Half(int from, int to, ulong parent, int depth)
        {
            if (from >= to)
                return 0;
            int middle = (from + to) / 2;
            ulong node = nodes[middle];

            // Black but for every other level: what colours stand there does not matter to a walk, that they are there does.
            WriteU64(node, parent | (depth % 2 == 0 ? 1UL : 0UL));
            WriteU64(node + 16, Half(from, middle, node, depth + 1));
            WriteU64(node + 8, Half(middle + 1, to, node, depth + 1));
            return node;
        }
    }

    /// <summary>Makes an XArray of elements (lib/xarray.c), 64 slots a node.</summary>
    /// <param name="array">Address of the struct xarray.</param>
    /// <param name="elements">Elements by index.</param>
    /// <returns>Addresses of its nodes, the top one first.</returns>
    public IReadOnlyList<ulong> XArray(ulong array, IReadOnlyDictionary<ulong, ulong> elements)
    {
        var nodes = new List<ulong>();
        ulong last = elements.Count == 0 ? 0 : elements.Keys.Max();
        if (last == 0)
        {
            Put(array, "xarray.xa_head", elements.GetValueOrDefault(0UL));
            return nodes;
        }

        int shift = 0;
        while (shift < 60 && last >> shift >= 64)
            shift += 6;
        Put(array, "xarray.xa_head", Node(shift, 0, 0, 0) | 2);
        return nodes;

        ulong Node(int at, ulong start, ulong parent, int slot)
        {
            ulong node = Allocate(Types.SizeOf("xa_node"));
            nodes.Add(node);
            Put(node, "xa_node.shift", (ulong)at);
            Put(node, "xa_node.offset", (ulong)slot);
            Put(node, "xa_node.parent", parent);
            Put(node, "xa_node.array", array);
            for (int i = 0; i < (at == 60 ? 16 : 64); i++)
            {
                ulong from = start + ((ulong)i << at), to = from + ((1UL << at) - 1);
                ulong entry = at == 0 ? elements.GetValueOrDefault(from) : elements.Keys.Any(k => k >= from && k <= to) ? Node(at - 6, from, node, i) | 2 : 0;
                WriteU64(node + Types.Offset("xa_node.slots") + ((ulong)i * 8), entry);
            }

            return node;
        }
    }
}
