using System.Buffers.Binary;
using System.Text;
using System.Text.Json.Nodes;
using Panacea.Formats.Vmcore;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Sessions;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.TestKit;
using Panacea.TestKit.Dumps;

namespace Panacea.GuestTests.Dumps;

/// <summary>The shared guest, stopped once and dumped by QEMU in its formats, with what was read of the very same state while it stood.</summary>
public abstract class GuestDump(SharedGuest shared) : IAsyncLifetime
{
    private readonly TemporaryDirectory _directory = new();

    /// <summary>QEMU's ELF core; without VMCOREINFO, which only a guest with the device for it gives to QEMU.</summary>
    internal string Elf => _directory.File("elf");

    /// <summary>QEMU's kdump-compressed dump: zlib, flattened.</summary>
    internal string Kdump => _directory.File("kdump");

    /// <summary>QEMU's pmemsave of all RAM below 4 GiB.</summary>
    internal string Raw => _directory.File("raw");

    /// <summary>The ELF core as a crash kernel would have left it: the kernel's notes and VMCOREINFO, none of QEMU's.</summary>
    internal string Vmcore => _directory.File("vmcore");

    /// <summary>The kernel log as makedumpfile reads it.</summary>
    internal IReadOnlyList<string> Log { get; private set; } = [];

    /// <summary>Tasks, as read from the stopped guest.</summary>
    internal IReadOnlyList<LinuxTask> Tasks { get; private set; } = [];

    /// <summary>The kernel's identity, as read from the stopped guest.</summary>
    internal ImageMeta Meta { get; private set; } = null!;

    /// <summary>Number of the kernel's symbols, as read from the stopped guest.</summary>
    internal int Symbols { get; private set; }

    /// <summary>Control registers, as the monitor tells them.</summary>
    internal IReadOnlyList<VcpuControlState> Control { get; private set; } = [];

    /// <summary>All registers, as the monitor tells them.</summary>
    internal string Monitor { get; private set; } = "";

    /// <summary>A path for another dump.</summary>
    internal string File(string name) => _directory.File(name);

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        Guest guest = await shared.AliveAsync();
        await guest.Monitor.ExecuteAsync("stop");
        try
        {
            Task Save(string file, string? format) => guest.Monitor.ExecuteAsync(
                "dump-guest-memory", new JsonObject { ["paging"] = false, ["protocol"] = $"file:{file}", ["format"] = format });
            await Save(Elf, "elf");
            await Save(Kdump, "kdump-zlib");
            await guest.Monitor.ExecuteAsync("pmemsave", new JsonObject { ["val"] = 0, ["size"] = (long)shared.Spec.MemoryMiB << 20, ["filename"] = Raw });
            Monitor = await guest.Monitor.HumanAsync("info registers -a");
            Control = ControlRegisters.Parse(Monitor);
            using KernelView view = KernelView.Open(guest);
            Tasks = Kernel.Subsystems.Tasks.Enumerate(view.Kernel, TargetLimits.Default);
            (Meta, Symbols) = (view.Image.Meta, view.Image.SymbolCount);
        }
        finally
        {
            await guest.Monitor.ExecuteAsync("cont");
        }

        WriteVmcore();
        Log = await Makedumpfile.ReadLogAsync(Vmcore, File("dmesg"));
    }

    /// <inheritdoc/>
    public ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        _directory.Dispose();
        return ValueTask.CompletedTask;
    }

    /// <summary>makedumpfile wants the program headers right behind the ELF header (QEMU 7.2 writes them elsewhere), and VMCOREINFO among the notes.</summary>
    private void WriteVmcore()
    {
        using FileStream elf = System.IO.File.OpenRead(Elf), vmcore = System.IO.File.Create(Vmcore);
        byte[] header = new byte[64];
        elf.ReadExactly(header);
        byte[] segments = new byte[56 * BinaryPrimitives.ReadUInt16LittleEndian(header.AsSpan(56))];
        elf.Position = BinaryPrimitives.ReadInt64LittleEndian(header.AsSpan(32));
        elf.ReadExactly(segments);
        byte[] notes = new byte[BinaryPrimitives.ReadInt64LittleEndian(segments.AsSpan(32))];
        elf.Position = BinaryPrimitives.ReadInt64LittleEndian(segments.AsSpan(8));
        elf.ReadExactly(notes);

        // QEMU writes all of the CPUs' NT_PRSTATUS first: 12 bytes of header, 8 of name, 336 of registers each.
        byte[] kernels = [.. notes.AsSpan(0, Control.Count * 356), .. new DumpNotes().AddVmcoreInfo(Meta.VmcoreInfo!).Build()];
        elf.Position = 0;
        elf.CopyTo(vmcore);
        BinaryPrimitives.WriteInt64LittleEndian(segments.AsSpan(8), vmcore.Length);
        BinaryPrimitives.WriteInt64LittleEndian(segments.AsSpan(32), kernels.Length);
        BinaryPrimitives.WriteInt64LittleEndian(segments.AsSpan(40), kernels.Length);
        vmcore.Write(kernels);
        BinaryPrimitives.WriteInt64LittleEndian(header.AsSpan(32), 64);
        header.AsSpan(40, 8).Clear();
        header.AsSpan(58, 6).Clear();
        vmcore.Position = 0;
        vmcore.Write(header);
        vmcore.Write(segments);
    }
}

/// <summary>Dumps of line 6.1.</summary>
public sealed class GuestDump61(Guest61 guest) : GuestDump(guest);

/// <summary>Dumps of line 6.12.</summary>
public sealed class GuestDump612(Guest612 guest) : GuestDump(guest);
