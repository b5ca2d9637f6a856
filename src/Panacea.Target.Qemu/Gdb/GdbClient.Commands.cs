using System.Buffers.Binary;

namespace Panacea.Target.Qemu.Gdb;

public sealed partial class GdbClient
{
    /// <summary>vCPUs whose registers are asked for in one write: replies of this many fit the socket's buffer with room to spare.</summary>
    private const int VcpusPerBatch = 16;

    private static readonly string[] GprNames =
        ["rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi", "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15"];

    private readonly GdbRegister[] _gpr = new GdbRegister[16];
    private GdbRegister _rip, _rflags, _cs, _fsBase, _gsBase, _kernelGsBase, _cr0, _cr2, _cr3, _cr4, _efer;
    private int _selected = -1;
    private bool _physicalMode, _isLeft;
    private readonly HashSet<int> _synchronised = [];

    /// <summary>Index of a thread's vCPU, or -1.</summary>
    public int VcpuOf(GdbThread thread)
    {
        for (int i = 0; i < _threads.Count; i++)
        {
            if (_threads[i].Id == thread.Id)
                return i;
        }

        return -1;
    }

    /// <summary>Reads the registers of one vCPU of a stopped guest.</summary>
    public VcpuRegisters ReadRegisters(int vcpu)
    {
        PacketBuilder tx = Begin();
        bool select = Select(tx, vcpu);
        tx.Open("g"u8).Close();
        long deadline = Flush();
        if (select)
            ExpectOk(deadline, $"select vCPU {vcpu}");
        VcpuRegisters registers = ParseRegisters(vcpu, Reply(deadline));
        _synchronised.Add(vcpu);
        return registers;
    }

    /// <summary>Reads the registers of vCPUs [0, <paramref name="all"/>.Length) in few round trips.</summary>
    public void ReadRegisters(Span<VcpuRegisters> all)
    {
        for (int start = 0; start < all.Length; start += VcpusPerBatch)
        {
            int end = Math.Min(all.Length, start + VcpusPerBatch);
            PacketBuilder tx = Begin();
            for (int vcpu = start; vcpu < end; vcpu++)
            {
                _selected = -1;
                Select(tx, vcpu);
                tx.Open("g"u8).Close();
            }

            long deadline = Flush();
            for (int vcpu = start; vcpu < end; vcpu++)
            {
                ExpectOk(deadline, $"select vCPU {vcpu}");
                all[vcpu] = ParseRegisters(vcpu, Reply(deadline));
                _synchronised.Add(vcpu);
            }
        }
    }

    /// <summary>Writes registers of one vCPU in one round trip.</summary>
    /// <remarks>QEMU's <c>P</c> (handle_set_reg) does not fetch the vCPU's state from KVM first, unlike <c>g</c>: a write to a vCPU whose registers
    /// have not been read in this stop is lost when QEMU fetches them later. So an unread vCPU is read in the same batch.</remarks>
    /// <exception cref="GdbException">One was refused; the others may have been written.</exception>
    public void WriteRegisters(int vcpu, ReadOnlySpan<RegisterWrite> writes)
    {
        if (writes.IsEmpty)
            return;
        Span<byte> raw = stackalloc byte[8];
        PacketBuilder tx = Begin();
        bool select = Select(tx, vcpu), synchronise = _synchronised.Add(vcpu);
        if (synchronise)
            tx.Open("g"u8).Close();
        foreach (RegisterWrite write in writes)
        {
            GdbRegister register = write.Register switch
            {
                WritableRegister.Rip => _rip,
                WritableRegister.Rflags => _rflags,
                >= WritableRegister.Rax and <= WritableRegister.R15 => _gpr[(int)write.Register],
                _ => throw new ArgumentOutOfRangeException(nameof(writes)),
            };
            BinaryPrimitives.WriteUInt64LittleEndian(raw, write.Value);
            tx.Open("P"u8).Number((ulong)register.Number).Text("="u8).Data(raw[..register.Size]).Close();
        }

        long deadline = Flush();
        string? refused = null;
        if (select && !ReplyIsOk(deadline, out string refusal))
            refused = refusal;
        if (synchronise)
            ThrowIfStop(Reply(deadline));
        foreach (RegisterWrite write in writes)
        {
            if (!ReplyIsOk(deadline, out refusal))
                refused ??= $"{write.Register}: {refusal}";
        }

        if (refused != null)
            throw new GdbException($"the gdb stub refused to write registers of vCPU {vcpu}: {refused}", GdbFailure.Refused);
    }

    /// <summary>Removes and sets hardware execution breakpoints (<c>z1</c>, <c>Z1</c>) in one round trip. They hold for all vCPUs.</summary>
    /// <exception cref="GdbException">One was refused (KVM has four debug registers); the others may have been set.</exception>
    public void ChangeBreakpoints(ReadOnlySpan<ulong> remove, ReadOnlySpan<ulong> insert) => ChangeBreakpoints(remove, insert, hardware: true);

    /// <summary>The same; <paramref name="hardware"/> false sets software breakpoints (<c>Z0</c>), which write INT3 into guest memory under KVM.</summary>
    public void ChangeBreakpoints(ReadOnlySpan<ulong> remove, ReadOnlySpan<ulong> insert, bool hardware)
    {
        if (remove.IsEmpty && insert.IsEmpty)
            return;
        PacketBuilder tx = Begin();
        foreach (ulong address in remove)
            tx.Open(hardware ? "z1,"u8 : "z0,"u8).Number(address).Text(",1"u8).Close();
        foreach (ulong address in insert)
            tx.Open(hardware ? "Z1,"u8 : "Z0,"u8).Number(address).Text(",1"u8).Close();
        long deadline = Flush();
        string? refused = null;
        foreach (ulong address in remove)
        {
            if (!ReplyIsOk(deadline, out string refusal))
                refused ??= $"remove 0x{address:x}: {refusal}";
        }

        foreach (ulong address in insert)
        {
            if (!ReplyIsOk(deadline, out string refusal))
                refused ??= $"set 0x{address:x}: {refusal}";
        }

        if (refused != null)
            throw new GdbException($"QEMU refused a breakpoint ({refused})", GdbFailure.Refused);
    }

    /// <summary>Resumes all vCPUs.</summary>
    public void Continue() => Resume("vCont;c"u8, -1);

    /// <summary>Resumes one vCPU; the others stay held.</summary>
    public void Continue(int vcpu) => Resume("vCont;c:"u8, vcpu);

    /// <summary>Lets one vCPU execute one instruction; the others stay held. QEMU masks interrupts and timers meanwhile where it can.</summary>
    public void Step(int vcpu) => Resume("vCont;s:"u8, vcpu);

    /// <summary>Writes guest-physical memory through QEMU, which then drops translated code and marks pages dirty as for its own devices.</summary>
    /// <exception cref="GdbException">Refused, or <see cref="HasPhysicalMode"/> is false.</exception>
    public void WritePhysical(ulong address, ReadOnlySpan<byte> bytes)
    {
        int chunk = Math.Max(1, (_packetSize - 64) / 2);
        while (!bytes.IsEmpty)
        {
            ReadOnlySpan<byte> part = bytes[..Math.Min(chunk, bytes.Length)];
            PacketBuilder tx = Begin();
            bool enter = !_physicalMode;
            if (enter)
                tx.Open("Qqemu.PhyMemMode:1"u8).Close();
            tx.Open("M"u8).Number(address).Text(","u8).Number((ulong)part.Length).Text(":"u8).Data(part).Close();
            long deadline = Flush();
            if (enter)
            {
                bool entered = ReplyIsOk(deadline, out string refusal);
                bool written = ReplyIsOk(deadline, out string writeRefusal);
                _physicalMode = entered;
                if (!entered || !written)
                    throw new GdbException($"the gdb stub refused to write guest-physical memory: {(entered ? writeRefusal : refusal)}", GdbFailure.Refused);
            }
            else
            {
                ExpectOk(deadline, "write guest-physical memory");
            }

            address = unchecked(address + (ulong)part.Length);
            bytes = bytes[part.Length..];
        }
    }

    /// <summary>Reads guest-virtual memory as the given vCPU sees it. Slow (hexadecimal): a fallback only.</summary>
    public void ReadVirtual(int vcpu, ulong address, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            int part = Math.Min(destination.Length, (_packetSize - 64) / 2);
            PacketBuilder tx = Begin();
            bool leave = _physicalMode, select = Select(tx, vcpu);
            if (leave)
                tx.Open("Qqemu.PhyMemMode:0"u8).Close();
            tx.Open("m"u8).Number(address).Text(","u8).Number((ulong)part).Close();
            long deadline = Flush();
            if (select)
                ExpectOk(deadline, $"select vCPU {vcpu}");
            if (leave)
                ExpectOk(deadline, "address virtual memory");
            _physicalMode = false;
            ReadOnlySpan<byte> reply = Reply(deadline);
            ThrowIfStop(reply);
            if (!Hex.TryDecode(reply, destination[..part]))
                throw new GdbException($"the gdb stub cannot read memory at 0x{address:x}: {Show(reply)}", GdbFailure.Refused);
            address = unchecked(address + (ulong)part);
            destination = destination[part..];
        }
    }

    /// <summary>Removes <paramref name="breakpoints"/>, resumes the guest and gives it up. The guest must be stopped; the connection is done with afterwards.</summary>
    public void Detach(ReadOnlySpan<ulong> breakpoints)
    {
        PacketBuilder tx = Begin();
        Leave(tx, breakpoints, resume: true);
        int before = tx.Packets - 1;
        _isLeft = true;
        long deadline = Flush();
        for (int i = 0; i < before; i++)
            _ = ReplyIsOk(deadline, out _); // D removes them all in any case.
        ExpectOk(deadline, "detach");
    }

    /// <summary>Gives the guest up without waiting for answers, where they do not come any more: what was sent is read and done whenever QEMU reads again, also after this end is closed. Throws nothing.</summary>
    /// <param name="breakpoints">To be removed.</param>
    /// <param name="resume">Whether the guest is to run.</param>
    public void Abandon(ReadOnlySpan<ulong> breakpoints, bool resume)
    {
        // QEMU 7.2 crashes at a second D (gdbstub.c, handle_detach asks for the process of the vCPU that is none any more).
        if (_disposed || _isLeft)
            return;
        IsBroken = _isLeft = true;
        _tx.Clear();
        _tx.Raw((byte)'+');
        Leave(_tx, breakpoints, resume);
        try
        {
            Send(Environment.TickCount64);
        }
        catch (TargetException)
        {
            // It is closed, or so full that QEMU has not read for long.
        }
    }

    /// <summary>Ends physical addressing, so that a client after us finds the stub as usual. The guest stays stopped.</summary>
    internal void LeavePhysicalMode()
    {
        if (!_physicalMode)
            return;
        Begin().Open("Qqemu.PhyMemMode:0"u8).Close();
        ExpectOk(Flush(), "address virtual memory");
        _physicalMode = false;
    }

    private void Leave(PacketBuilder tx, ReadOnlySpan<ulong> breakpoints, bool resume)
    {
        foreach (ulong address in breakpoints)
            tx.Open("z1,"u8).Number(address).Text(",1"u8).Close();
        if (_physicalMode)
            tx.Open("Qqemu.PhyMemMode:0"u8).Close();
        if (!resume)
            return;
        tx.Open("D"u8);
        if (_threads.Count > 0 && _threads[0].Process != 0)
            tx.Text(";"u8).Number(_threads[0].Process);
        tx.Close();
    }

    private void Resume(ReadOnlySpan<byte> how, int vcpu)
    {
        PacketBuilder tx = Begin();
        bool leave = _physicalMode;
        if (leave)
            tx.Open("Qqemu.PhyMemMode:0"u8).Close();
        tx.Open(how);
        if (vcpu >= 0)
            Thread(tx, vcpu);
        tx.Close();
        _synchronised.Clear();
        _selected = -1; // QEMU selects the vCPU that stops (gdb_set_stop_cpu).
        _earlyStop = null;
        _physicalMode = false;
        long deadline = Flush();
        _repliesOwed--; // A resume is answered by the next stop.
        if (leave && !ReplyIsOk(deadline, out _))
            _physicalMode = true;
        AwaitAck(deadline);
    }

    /// <summary>Waits until the stub has taken the resume, so that a lost connection shows here and not at the next crash.</summary>
    private void AwaitAck(long deadline)
    {
        while (_acksOwed > 0)
        {
            switch (_rx.TryTake(out ReadOnlySpan<byte> packet))
            {
                case PacketKind.Ack:
                    _acksOwed--;
                    break;
                case PacketKind.Packet:
                    _ackPending = !_noAck;
                    _acksOwed = 0;
                    if (StopReply.TryParse(packet, out StopReply stop))
                        _earlyStop = stop;
                    else
                        throw new GdbException($"the gdb stub refused to resume the guest: {Show(packet)}", GdbFailure.Refused);
                    break;
                case PacketKind.Nack or PacketKind.Damaged:
                    throw Break("the gdb stub did not understand a resume", GdbFailure.Protocol);
                case PacketKind.Incomplete:
                    if (Native.Libc.WaitReadable(_fd, -1, deadline) == 0)
                        throw Break("the gdb stub did not take the resume in time", GdbFailure.Timeout);
                    Receive();
                    break;
            }
        }
    }

    private bool Select(PacketBuilder tx, int vcpu)
    {
        if ((uint)vcpu >= (uint)_threads.Count)
            throw new ArgumentOutOfRangeException(nameof(vcpu));
        if (_selected == vcpu)
            return false;
        tx.Open("Hg"u8);
        Thread(tx, vcpu);
        tx.Close();
        _selected = vcpu;
        return true;
    }

    private void Thread(PacketBuilder tx, int vcpu)
    {
        if ((uint)vcpu >= (uint)_threads.Count)
            throw new ArgumentOutOfRangeException(nameof(vcpu));
        GdbThread thread = _threads[vcpu];
        if (thread.Process != 0)
            tx.Text("p"u8).Number(thread.Process).Text("."u8);
        tx.Number(thread.Id);
    }

    private void FindRegisters()
    {
        for (int i = 0; i < 16; i++)
            _gpr[i] = Layout.Require(GprNames[i]);
        _rip = Layout.Require("rip");
        _rflags = Layout.Require("eflags");
        _cs = Layout.Require("cs");
        _fsBase = Layout.Require("fs_base");
        _gsBase = Layout.Require("gs_base");
        _kernelGsBase = Layout.Require("k_gs_base");
        _cr0 = Layout.Require("cr0");
        _cr2 = Layout.Require("cr2");
        _cr3 = Layout.Require("cr3");
        _cr4 = Layout.Require("cr4");
        _efer = Layout.Require("efer");
    }

    private VcpuRegisters ParseRegisters(int vcpu, ReadOnlySpan<byte> g)
    {
        ThrowIfStop(g);
        GprFile gpr = default;
        for (int i = 0; i < 16; i++)
            gpr[i] = Value(g, _gpr[i]);
        return new VcpuRegisters
        {
            Vcpu = vcpu,
            Gpr = gpr,
            Rip = Value(g, _rip),
            Rflags = Value(g, _rflags),
            Cs = unchecked((ushort)Value(g, _cs)),
            FsBase = Value(g, _fsBase),
            GsBase = Value(g, _gsBase),
            KernelGsBase = Value(g, _kernelGsBase),
            Cr0 = Value(g, _cr0),
            Cr2 = Value(g, _cr2),
            Cr3 = Value(g, _cr3),
            Cr4 = Value(g, _cr4),
            Efer = Value(g, _efer),
        };
    }

    private static ulong Value(ReadOnlySpan<byte> g, GdbRegister register)
    {
        Span<byte> raw = stackalloc byte[8];
        raw.Clear();
        if (g.Length < (register.Offset + register.Size) * 2 || !Hex.TryDecode(g.Slice(register.Offset * 2, register.Size * 2), raw[..register.Size]))
            throw new GdbException($"the gdb stub's registers lack {register.Name}", GdbFailure.Refused);
        return BinaryPrimitives.ReadUInt64LittleEndian(raw);
    }
}
