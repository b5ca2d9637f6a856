using System.Security.Cryptography;
using System.Text;

namespace Panacea.Lab.Guests;

/// <summary>Collects what a cached thing was made from; the sum names it in the cache.</summary>
internal sealed class ContentHash : IDisposable
{
    private readonly IncrementalHash _hash = IncrementalHash.CreateHash(HashAlgorithmName.SHA256);

    public ContentHash Add(string text) => Add(Encoding.UTF8.GetBytes(text));

    public ContentHash Add(ReadOnlySpan<byte> bytes)
    {
        _hash.AppendData(BitConverter.GetBytes((long)bytes.Length));
        _hash.AppendData(bytes);
        return this;
    }

    /// <summary>A file by its path, size and time: enough for files that packages install.</summary>
    public ContentHash AddFile(string path)
    {
        var info = new FileInfo(path);
        return Add($"{path}:{info.Length}:{info.LastWriteTimeUtc.Ticks}");
    }

    /// <summary>The sum as 16 hexadecimal digits.</summary>
    public string Finish() => Convert.ToHexStringLower(_hash.GetHashAndReset())[..16];

    public void Dispose() => _hash.Dispose();
}
