using System.Buffers.Binary;
using System.Text;
using Panacea.Formats.VmcoreInfo;

namespace Panacea.Formats.Vmcore;

/// <summary>Registers of one CPU for the notes of a core, by what they are called there; one that is not known stays out (0).</summary>
public sealed class CoreRegisters
{
    private readonly ulong[] _user = new ulong[27];
    private readonly ulong[] _control = new ulong[5];

    /// <summary>A register of NT_PRSTATUS.</summary>
    public ulong this[UserRegister register]
    {
        get => _user[(int)register];
        set => _user[(int)register] = value;
    }

    /// <summary>Control registers 0 to 4; null where they are not known: QEMU's note is left out then.</summary>
    public IReadOnlyList<ulong>? Control { get; private set; }

    /// <summary>The GS base that SWAPGS exchanges; null where it is not known.</summary>
    public ulong? KernelGsBase { get; set; }

    /// <summary>Sets the control registers.</summary>
    public void SetControl(ulong cr0, ulong cr2, ulong cr3, ulong cr4)
    {
        (_control[0], _control[2], _control[3], _control[4]) = (cr0, cr2, cr3, cr4);
        Control = _control;
    }
}

/// <summary>The notes of an ELF core, to write: registers of the CPUs as the kernel has them and as QEMU has them, and the kernel's VMCOREINFO.</summary>
/// <remarks>NT_PRSTATUS is what crash and makedumpfile read; QEMU's note beside it holds the control registers, by which a kernel without VMCOREINFO can be found, and the bases of FS and
/// GS as the vCPU has them, by which it is told which CPU it is.</remarks>
public sealed class CoreNotes
{
    private const int StatusBytes = 336, StatusPidAt = 32, StatusRegistersAt = 112;
    private const int QemuRegistersAt = 8, QemuSegmentsAt = QemuRegistersAt + (18 * 8), QemuSegmentBytes = 24, QemuControlAt = QemuSegmentsAt + (10 * QemuSegmentBytes);

    private static readonly (QemuRegister Qemu, UserRegister User)[] General =
    [
        (QemuRegister.Rax, UserRegister.Rax), (QemuRegister.Rbx, UserRegister.Rbx), (QemuRegister.Rcx, UserRegister.Rcx), (QemuRegister.Rdx, UserRegister.Rdx), (QemuRegister.Rsi, UserRegister.Rsi),
        (QemuRegister.Rdi, UserRegister.Rdi), (QemuRegister.Rsp, UserRegister.Rsp), (QemuRegister.Rbp, UserRegister.Rbp), (QemuRegister.R8, UserRegister.R8), (QemuRegister.R9, UserRegister.R9),
        (QemuRegister.R10, UserRegister.R10), (QemuRegister.R11, UserRegister.R11), (QemuRegister.R12, UserRegister.R12), (QemuRegister.R13, UserRegister.R13), (QemuRegister.R14, UserRegister.R14),
        (QemuRegister.R15, UserRegister.R15), (QemuRegister.Rip, UserRegister.Rip), (QemuRegister.Rflags, UserRegister.Rflags),
    ];

    private readonly List<byte> _bytes = [];

    /// <summary>Adds the registers of all CPUs: NT_PRSTATUS of each, then QEMU's note of each where their control registers are known.</summary>
    /// <param name="cpus">In the order of the vCPUs.</param>
    public CoreNotes AddCpus(IReadOnlyList<CoreRegisters> cpus)
    {
        for (int i = 0; i < cpus.Count; i++)
            AddStatus((uint)i + 1, cpus[i]);

        // Which vCPU a note of QEMU's is of is told by its place alone: it is all of them or none.
        if (cpus.All(c => c.Control is not null))
        {
            foreach (CoreRegisters cpu in cpus)
                AddQemu(cpu);
        }

        return this;
    }

    /// <summary>Adds the kernel's VMCOREINFO, to the letter.</summary>
    public CoreNotes AddVmcoreInfo(string text) => Add(VmcoreInfoData.NoteName, 0, Encoding.UTF8.GetBytes(text));

    /// <summary>The notes, one behind the other.</summary>
    public byte[] Build() => [.. _bytes];

    private void AddStatus(uint pid, CoreRegisters cpu)
    {
        byte[] status = new byte[StatusBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(status.AsSpan(StatusPidAt), pid);
        foreach (UserRegister register in Enum.GetValues<UserRegister>())
            BinaryPrimitives.WriteUInt64LittleEndian(status.AsSpan(StatusRegistersAt + (8 * (int)register)), cpu[register]);
        Add("CORE", PrStatusNote.NoteType, status);
    }

    private void AddQemu(CoreRegisters cpu)
    {
        byte[] note = new byte[QemuControlAt + (5 * 8) + (cpu.KernelGsBase is null ? 0 : 8)];
        BinaryPrimitives.WriteUInt32LittleEndian(note, 1);
        BinaryPrimitives.WriteInt32LittleEndian(note.AsSpan(4), note.Length);
        foreach ((QemuRegister to, UserRegister from) in General)
            BinaryPrimitives.WriteUInt64LittleEndian(note.AsSpan(QemuRegistersAt + (8 * (int)to)), cpu[from]);
        Segment(QemuSegment.Cs, cpu[UserRegister.Cs], 0);
        Segment(QemuSegment.Ss, cpu[UserRegister.Ss], 0);
        Segment(QemuSegment.Fs, 0, cpu[UserRegister.FsBase]);
        Segment(QemuSegment.Gs, 0, cpu[UserRegister.GsBase]);
        for (int i = 0; i < 5; i++)
            BinaryPrimitives.WriteUInt64LittleEndian(note.AsSpan(QemuControlAt + (8 * i)), cpu.Control![i]);
        if (cpu.KernelGsBase is { } kernelGs)
            BinaryPrimitives.WriteUInt64LittleEndian(note.AsSpan(QemuControlAt + 40), kernelGs);
        Add(QemuCpuNote.Owner, 0, note);

        void Segment(QemuSegment segment, ulong selector, ulong segmentBase)
        {
            Span<byte> at = note.AsSpan(QemuSegmentsAt + ((int)segment * QemuSegmentBytes), QemuSegmentBytes);
            BinaryPrimitives.WriteUInt32LittleEndian(at, unchecked((uint)selector));
            BinaryPrimitives.WriteUInt64LittleEndian(at[16..], segmentBase);
        }
    }

    private CoreNotes Add(string name, uint type, ReadOnlySpan<byte> descriptor)
    {
        byte[] header = new byte[12 + ((name.Length + 1 + 3) / 4 * 4)];
        BinaryPrimitives.WriteInt32LittleEndian(header, name.Length + 1);
        BinaryPrimitives.WriteInt32LittleEndian(header.AsSpan(4), descriptor.Length);
        BinaryPrimitives.WriteUInt32LittleEndian(header.AsSpan(8), type);
        Encoding.ASCII.GetBytes(name, header.AsSpan(12));
        _bytes.AddRange(header);
        _bytes.AddRange(descriptor);
        _bytes.AddRange(new byte[(4 - (descriptor.Length % 4)) % 4]);
        return this;
    }
}
