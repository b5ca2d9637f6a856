using System.Runtime.InteropServices;

namespace Panacea.Cli.Output;

/// <summary>Standard output or standard error as a plain stream of bytes.</summary>
/// <remarks>The runtime's own console stream sets up the terminal at its first write (it sends <c>ESC [ ? 1 h</c>) and hides a broken pipe.</remarks>
internal sealed partial class DescriptorStream(int descriptor) : Stream
{
    private const int InterruptedCall = 4, TryAgain = 11, BrokenPipe = 32;

    /// <inheritdoc/>
    public override bool CanRead => false;

    /// <inheritdoc/>
    public override bool CanSeek => false;

    /// <inheritdoc/>
    public override bool CanWrite => true;

    /// <inheritdoc/>
    public override long Length => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Position
    {
        get => throw new NotSupportedException();
        set => throw new NotSupportedException();
    }

    /// <inheritdoc/>
    public override void Write(byte[] buffer, int offset, int count) => Write(buffer.AsSpan(offset, count));

    /// <inheritdoc/>
    /// <exception cref="BrokenPipeException">The reader has closed its end.</exception>
    /// <exception cref="IOException">The bytes could not be written.</exception>
    public override void Write(ReadOnlySpan<byte> buffer)
    {
        while (!buffer.IsEmpty)
        {
            nint written = NativeWrite(descriptor, buffer, (nuint)buffer.Length);
            if (written >= 0)
            {
                buffer = buffer[(int)written..];
                continue;
            }

            int error = Marshal.GetLastPInvokeError();
            if (error == InterruptedCall)
                continue;
            if (error == TryAgain)
            {
                // Whoever shares the terminal or pipe with us has made it non-blocking.
                Thread.Sleep(1);
                continue;
            }

            throw error == BrokenPipe ? new BrokenPipeException() : new IOException(Marshal.GetPInvokeErrorMessage(error));
        }
    }

    /// <inheritdoc/>
    public override void Flush()
    {
    }

    /// <inheritdoc/>
    public override int Read(byte[] buffer, int offset, int count) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override long Seek(long offset, SeekOrigin origin) => throw new NotSupportedException();

    /// <inheritdoc/>
    public override void SetLength(long value) => throw new NotSupportedException();

    [LibraryImport("libc", EntryPoint = "write", SetLastError = true)]
    private static partial nint NativeWrite(int descriptor, ReadOnlySpan<byte> bytes, nuint count);
}

/// <summary>The reader of our output has closed its end, as <c>head</c> does.</summary>
internal sealed class BrokenPipeException() : IOException("Broken pipe");
