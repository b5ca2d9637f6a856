using Panacea.Target;

namespace Panacea.Repair.Journal;

/// <summary>One change as it was made.</summary>
/// <param name="Where">Guest-virtual address or register, for the record.</param>
/// <param name="Before">What was there.</param>
/// <param name="After">What was written.</param>
/// <param name="Why">What it is.</param>
public sealed record JournalEntry(string Where, ReadOnlyMemory<byte> Before, ReadOnlyMemory<byte> After, string Why);

/// <summary>A plan could not be applied; everything that had been written was put back, unless <see cref="IsUndone"/> is false.</summary>
public sealed class JournalException(string message, bool isUndone, Exception? inner) : Exception(message, inner)
{
    /// <summary>The guest is as it was before the plan.</summary>
    public bool IsUndone { get; } = isUndone;
}

/// <summary>
/// The only thing that writes into a guest: applies a plan and keeps what was there. Before the first byte is written, every target has been translated and its old content
/// read; a failure after that puts everything back.
/// </summary>
public sealed class RepairJournal
{
    private readonly IStoppedGuest _guest;
    private readonly AddressSpace _space;
    private readonly List<JournalEntry> _entries = [];
    private readonly Stack<Func<bool>> _undo = new();

    /// <summary>A journal over one stopped guest.</summary>
    /// <param name="guest">The guest, every vCPU held.</param>
    /// <param name="space">The kernel's address space over the guest's live memory (not over a capture: what is read back must be what is there).</param>
    public RepairJournal(IStoppedGuest guest, AddressSpace space)
    {
        _guest = guest;
        _space = space;
    }

    /// <summary>What has been written, in order.</summary>
    public IReadOnlyList<JournalEntry> Entries => _entries;

    /// <summary>Applies a plan: memory first, registers after it.</summary>
    /// <exception cref="JournalException">It could not be applied; see <see cref="JournalException.IsUndone"/>.</exception>
    public void Apply(RepairPlan plan)
    {
        try
        {
            var chunks = new List<(PhysicalAddress Physical, ulong Virtual, byte[] Before, ReadOnlyMemory<byte> After, string Why)>();
            foreach (PlannedWrite write in plan.Writes)
                Resolve(write, chunks);
            foreach (var (physical, address, before, after, why) in chunks)
            {
                _undo.Push(() => _guest.TryWrite(physical, before, out _));
                if (!_guest.TryWrite(physical, after.Span, out MemoryFault fault))
                {
                    // A write that is refused has written nothing, and putting back would be refused likewise.
                    _undo.Pop();
                    throw new GuestMemoryException(fault, why);
                }

                _entries.Add(new JournalEntry($"0x{address:x16}", before, after, why));
                Verify(physical, after, why);
            }

            for (int at = 0, next; at < plan.Registers.Count; at = next)
            {
                for (next = at + 1; next < plan.Registers.Count && plan.Registers[next].Vcpu == plan.Registers[at].Vcpu; next++)
                {
                }

                Write(plan.Registers[at].Vcpu, [.. plan.Registers.Skip(at).Take(next - at)]);
            }
        }
        catch (Exception e)
        {
            // Whatever it was, half of a repair must not stay.
            bool undone = Undo();
            throw new JournalException($"the repair could not be applied: {e.Message}", undone, e);
        }
    }

    /// <summary>Puts back what was there, last write first.</summary>
    /// <returns>True when everything is as it was.</returns>
    public bool Undo()
    {
        bool whole = true;
        while (_undo.TryPop(out Func<bool>? step))
        {
            try
            {
                whole &= step();
            }
            catch (Exception)
            {
                // The rest must still be tried: half of a repair is worse than either state.
                whole = false;
            }
        }

        if (whole)
            _entries.Clear();
        return whole;
    }

    private void Resolve(PlannedWrite write, List<(PhysicalAddress, ulong, byte[], ReadOnlyMemory<byte>, string)> chunks)
    {
        ulong at = write.Address.Value;
        ReadOnlyMemory<byte> rest = write.Bytes;
        while (!rest.IsEmpty)
        {
            if (!_space.TryTranslate(new VirtualAddress(at), out var translation, out MemoryFault fault))
                throw new GuestMemoryException(fault, write.Why);
            int take = (int)Math.Min(translation.PageSize - (at & (translation.PageSize - 1)), (ulong)rest.Length);
            byte[] before = new byte[take];
            if (!_space.Memory.TryRead(translation.Physical, before, out fault))
                throw new GuestMemoryException(fault, write.Why);
            chunks.Add((translation.Physical, at, before, rest[..take], write.Why));
            rest = rest[take..];
            at = unchecked(at + (ulong)take);
        }
    }

    private void Verify(PhysicalAddress physical, ReadOnlyMemory<byte> after, string why)
    {
        byte[] now = new byte[after.Length];
        if (!_space.Memory.TryRead(physical, now, out MemoryFault fault))
            throw new GuestMemoryException(fault, why);
        if (!now.AsSpan().SequenceEqual(after.Span))
            throw new TargetException($"guest memory does not hold what was written ({why})");
    }

    /// <summary>All registers of a vCPU at once: each question that QEMU is asked keeps the guest standing.</summary>
    private void Write(int vcpu, PlannedRegister[] planned)
    {
        VcpuRegisters registers = _guest.ReadRegisters(vcpu);
        RegisterWrite[] before = [.. planned.Select(p => new RegisterWrite(p.Register, ValueOf(registers, p.Register)))];

        // Where writing fails, some may have been written.
        _undo.Push(() =>
        {
            _guest.WriteRegisters(vcpu, before);
            return true;
        });
        _guest.WriteRegisters(vcpu, [.. planned.Select(p => new RegisterWrite(p.Register, p.Value))]);
        for (int i = 0; i < planned.Length; i++)
        {
            _entries.Add(new JournalEntry(
                $"vcpu{vcpu}.{planned[i].Register.ToString().ToLowerInvariant()}", BitConverter.GetBytes(before[i].Value), BitConverter.GetBytes(planned[i].Value), planned[i].Why));
        }
    }

    private static ulong ValueOf(VcpuRegisters registers, WritableRegister register) => register switch
    {
        WritableRegister.Rip => registers.Rip,
        WritableRegister.Rflags => registers.Rflags,
        _ => registers.Gpr[(Gpr)(int)register],
    };
}
