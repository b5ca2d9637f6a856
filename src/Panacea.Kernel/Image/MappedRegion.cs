using System.Buffers;
using System.IO.MemoryMappedFiles;

namespace Panacea.Kernel.Image;

/// <summary>A read-only file mapping seen as memory: pages come in when they are looked at, and are shared by all who map the same file.</summary>
/// <remarks>It goes when the last of its users does.</remarks>
internal sealed unsafe class MappedRegion : MemoryManager<byte>
{
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;
    private byte* _start;
    private readonly int _length;
    private int _users = 1;

    public MappedRegion(string path)
    {
        using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read | FileShare.Delete);
        _length = checked((int)stream.Length);
        _file = MemoryMappedFile.CreateFromFile(stream, null, 0, MemoryMappedFileAccess.Read, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, _length, MemoryMappedFileAccess.Read);

        // SAFETY: the view outlives every span handed out, because it is released only in Dispose, which ends this object's use.
        byte* pointer = null;
        _view.SafeMemoryMappedViewHandle.AcquirePointer(ref pointer);
        _start = pointer + _view.PointerOffset;
    }

    /// <summary>One more user, who disposes of it too.</summary>
    public void Share() => Interlocked.Increment(ref _users);

    public override Span<byte> GetSpan() => new(_start, _length);

    // SAFETY: mapped memory does not move; there is nothing to pin.
    public override MemoryHandle Pin(int elementIndex = 0) => new(_start + elementIndex);

    public override void Unpin()
    {
    }

    protected override void Dispose(bool disposing)
    {
        if (Interlocked.Decrement(ref _users) != 0)
            return;
        _start = null;
        _view.SafeMemoryMappedViewHandle.ReleasePointer();
        _view.Dispose();
        _file.Dispose();
    }
}
