namespace Panacea.Target.Qemu.Gdb;

/// <summary>What kind of stop a stub reported.</summary>
public enum StopKind
{
    /// <summary>The vCPUs are held; <see cref="StopReply.Signal"/> says why.</summary>
    Signal,

    /// <summary>QEMU is ending.</summary>
    Exited,
}

/// <summary>A stop reply (T, S, W or X).</summary>
/// <param name="Kind">Stopped or ended.</param>
/// <param name="Signal">gdb's signal number: 5 breakpoint or step, 2 stopped from outside, others for I/O errors, shutdown, watchdog
/// (QEMU gdbstub, gdb_vm_state_change).</param>
/// <param name="Thread">The thread it is about, tid 0 where the stub named none.</param>
public readonly record struct StopReply(StopKind Kind, int Signal, GdbThread Thread)
{
    /// <summary>SIGTRAP: a breakpoint or a single step.</summary>
    public bool IsTrap => Kind == StopKind.Signal && Signal == 5;

    /// <summary>Parses a packet, false where it is no stop reply.</summary>
    internal static bool TryParse(ReadOnlySpan<byte> packet, out StopReply reply)
    {
        reply = default;
        if (packet.Length < 3 || packet[0] is not ((byte)'T' or (byte)'S' or (byte)'W' or (byte)'X'))
            return false;
        int high = Hex.Digit(packet[1]), low = Hex.Digit(packet[2]);
        if (high < 0 || low < 0)
            return false;
        int code = (high << 4) | low;
        if (packet[0] is (byte)'W' or (byte)'X')
        {
            reply = new StopReply(StopKind.Exited, code, default);
            return true;
        }

        GdbThread thread = default;
        ReadOnlySpan<byte> rest = packet[3..];
        while (!rest.IsEmpty)
        {
            int end = rest.IndexOf((byte)';');
            ReadOnlySpan<byte> field = end < 0 ? rest : rest[..end];
            rest = end < 0 ? default : rest[(end + 1)..];
            if (field.StartsWith("thread:"u8) && !GdbThread.TryParse(field["thread:"u8.Length..], out thread))
                return false;
        }

        reply = new StopReply(StopKind.Signal, code, thread);
        return true;
    }
}

/// <summary>A thread as gdb names it: with the multiprocess extension <c>p01.02</c>. QEMU's thread id is the vCPU's index + 1.</summary>
/// <param name="Process">Process (CPU cluster), 0 where the stub does not use the extension.</param>
/// <param name="Id">Thread id, from 1; 0 for none.</param>
public readonly record struct GdbThread(uint Process, uint Id)
{
    internal static bool TryParse(ReadOnlySpan<byte> text, out GdbThread thread)
    {
        thread = default;
        ulong process = 0;
        if (!text.IsEmpty && text[0] == (byte)'p')
        {
            int used = Hex.Parse(text[1..], out process);
            if (used == 0 || text.Length <= used + 1 || text[used + 1] != (byte)'.')
                return false;
            text = text[(used + 2)..];
        }

        int digits = Hex.Parse(text, out ulong id);
        if (digits == 0 || digits != text.Length || id is 0 or > uint.MaxValue || process > uint.MaxValue)
            return false;
        thread = new GdbThread((uint)process, (uint)id);
        return true;
    }
}
