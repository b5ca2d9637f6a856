using System.Globalization;
using System.Text;

namespace Panacea.Lab.Guests;

/// <summary>Writes a cpio archive in the "newc" format that the kernel unpacks as its first root (Documentation/driver-api/early-userspace/buffer-format.rst).
/// The same entries give the same bytes: owners, times and inode numbers are fixed.</summary>
public sealed class CpioWriter(Stream output)
{
    private const uint DirectoryType = 0x4000, FileType = 0x8000, LinkType = 0xa000, CharacterType = 0x2000;

    private readonly HashSet<string> _directories = [];
    private uint _inode;
    private long _position;

    /// <summary>Adds a directory and those above it.</summary>
    public void AddDirectory(string path)
    {
        path = path.Trim('/');
        if (path.Length == 0 || !_directories.Add(path))
            return;
        int slash = path.LastIndexOf('/');
        if (slash > 0)
            AddDirectory(path[..slash]);
        Write(path, DirectoryType | 0x1ed, [], 0, 0);
    }

    /// <summary>Adds a regular file.</summary>
    public void AddFile(string path, ReadOnlySpan<byte> content, bool executable = false)
    {
        AddParent(path);
        Write(path.Trim('/'), FileType | (executable ? 0x1edu : 0x1a4u), content, 0, 0);
    }

    /// <summary>Adds a symbolic link.</summary>
    public void AddLink(string path, string target)
    {
        AddParent(path);
        Write(path.Trim('/'), LinkType | 0x1ff, Encoding.UTF8.GetBytes(target), 0, 0);
    }

    /// <summary>Adds a character device.</summary>
    public void AddCharacterDevice(string path, uint major, uint minor)
    {
        AddParent(path);
        Write(path.Trim('/'), CharacterType | 0x180, [], major, minor);
    }

    /// <summary>Ends the archive.</summary>
    public void Finish()
    {
        Write("TRAILER!!!", 0, [], 0, 0);
        output.Flush();
    }

    private void AddParent(string path)
    {
        int slash = path.Trim('/').LastIndexOf('/');
        if (slash > 0)
            AddDirectory(path.Trim('/')[..slash]);
    }

    private void Write(string name, uint mode, ReadOnlySpan<byte> content, uint major, uint minor)
    {
        byte[] path = Encoding.UTF8.GetBytes(name + "\0");
        uint links = (mode & 0xf000) == DirectoryType ? 2u : 1u;
        uint[] fields = [mode == 0 ? 0 : ++_inode, mode, 0, 0, links, 0, (uint)content.Length, 0, 0, major, minor, (uint)path.Length, 0];
        var header = new StringBuilder("070701", 110);
        foreach (uint field in fields)
            header.Append(field.ToString("X8", CultureInfo.InvariantCulture));
        Put(Encoding.ASCII.GetBytes(header.ToString()));
        Put(path);
        Pad();
        Put(content);
        Pad();
    }

    private void Put(ReadOnlySpan<byte> bytes)
    {
        output.Write(bytes);
        _position += bytes.Length;
    }

    private void Pad() => Put("\0\0\0"u8[..(int)((4 - (_position & 3)) & 3)]);
}
