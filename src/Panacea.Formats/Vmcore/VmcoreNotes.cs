using Panacea.Formats.Elf;
using Panacea.Formats.VmcoreInfo;

namespace Panacea.Formats.Vmcore;

/// <summary>The notes of a dump: registers of the CPUs and the kernel's VMCOREINFO. Immutable.</summary>
public sealed class VmcoreNotes
{
    private const uint AuxiliaryVector = 6, MappedFiles = 0x4649_4c45;

    private VmcoreNotes(List<PrStatusNote> status, List<QemuCpuNote> qemu, ReadOnlyMemory<byte>? vmcoreInfo, List<string> missing) =>
        (Status, Qemu, VmcoreInfo, Missing) = (status, qemu, vmcoreInfo, missing);

    /// <summary>No notes.</summary>
    public static VmcoreNotes None { get; } = new([], [], null, []);

    /// <summary>NT_PRSTATUS of each CPU, in the writer's order.</summary>
    public IReadOnlyList<PrStatusNote> Status { get; }

    /// <summary>QEMU's note of each vCPU, in the order of the vCPUs; empty where QEMU did not write the dump.</summary>
    public IReadOnlyList<QemuCpuNote> Qemu { get; }

    /// <summary>The text of VMCOREINFO; null where there is none.</summary>
    public ReadOnlyMemory<byte>? VmcoreInfo { get; }

    /// <summary>They are those of a process (NT_AUXV, NT_FILE; fs/binfmt_elf.c), not of a machine.</summary>
    public bool IsOfProcess { get; private init; }

    /// <summary>What can't be used, in sentences.</summary>
    public IReadOnlyList<string> Missing { get; }

    /// <summary>Reads notes, one behind the other; whatever is not known is passed over, and the first malformed one ends it.</summary>
    public static VmcoreNotes Parse(ReadOnlyMemory<byte> notes, FormatLimits limits)
    {
        List<PrStatusNote> status = [];
        List<QemuCpuNote> qemu = [];
        List<string> missing = [];
        ReadOnlyMemory<byte>? vmcoreInfo = null;
        int unknownQemu = 0, unknownStatus = 0;
        bool isProcess = false;
        for (int at = 0, count = 0; notes.Length - at >= 12 && notes.Span[at..].ContainsAnyExcept((byte)0); count++)
        {
            if (count >= limits.MaxDumpNotes)
            {
                missing.Add($"the dump has more than {limits.MaxDumpNotes} notes: the rest are left out");
                break;
            }

            if (!ElfNotes.TryReadOne(notes[at..], out ElfNote note, out int length))
            {
                missing.Add($"the notes end at offset {at} of {notes.Length} in one that is malformed: registers or VMCOREINFO behind it are lost");
                break;
            }

            at += length;
            switch (note)
            {
                case { Name: "CORE", Type: PrStatusNote.NoteType }:
                    if (PrStatusNote.TryRead(note.Descriptor.Span, out PrStatusNote registers))
                        status.Add(registers);
                    else
                        unknownStatus++;
                    break;
                case { Name: "CORE", Type: AuxiliaryVector or MappedFiles }:
                    isProcess = true;
                    break;
                case { Name: QemuCpuNote.Owner, Type: 0 }:
                    if (QemuCpuNote.TryRead(note.Descriptor.Span, out QemuCpuNote vcpu))
                        qemu.Add(vcpu);
                    else
                        unknownQemu++;
                    break;
                case { Name: VmcoreInfoData.NoteName, Type: 0 }:
                    vmcoreInfo ??= note.Descriptor.ToArray();
                    break;
            }
        }

        if (unknownStatus > 0)
            missing.Add($"the registers of {unknownStatus} CPUs have another layout than 64-bit Linux writes: they are left out");
        if (unknownQemu > 0)
        {
            // Which vCPU the others belong to is not told then.
            missing.Add($"QEMU's notes of {unknownQemu} vCPUs are of an unknown version: there are no control registers");
            qemu.Clear();
        }

        return new VmcoreNotes(status, qemu, vmcoreInfo, missing) { IsOfProcess = isProcess && vmcoreInfo is null && qemu.Count == 0 };
    }

    /// <summary>The same notes with a VMCOREINFO from elsewhere, where they have none of their own.</summary>
    internal VmcoreNotes Or(ReadOnlyMemory<byte> vmcoreInfo) =>
        VmcoreInfo is not null || vmcoreInfo.IsEmpty ? this : new VmcoreNotes([.. Status], [.. Qemu], vmcoreInfo, [.. Missing]);
}
