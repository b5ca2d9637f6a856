using System.Globalization;
using System.Text.RegularExpressions;
using Panacea.Formats.Vmcore;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Target;
using Panacea.Target.Dump;

namespace Panacea.GuestTests.Dumps;

/// <summary>Dumps that QEMU and makedumpfile write of one state of a guest: memory against pmemsave, registers against the monitor, the kernel against what was read of the stopped guest,
/// its log against makedumpfile's.</summary>
public abstract class DumpTests(GuestDump dumps)
{
    /// <summary>False where makedumpfile 1.7.2 (Debian 12) is older than the kernel and leaves slab pages out: since 6.10 slab is a page type (commit 46df8e73a4a3, "mm: free up PG_slab").</summary>
    protected abstract bool FilterKnowsSlab { get; }

    [Fact]
    public void Memory_is_what_pmemsave_wrote_in_every_format_of_qemu()
    {
        using DumpTarget raw = Open(dumps.Raw), elf = Open(dumps.Elf), kdump = Open(dumps.Kdump);
        Assert.Equal((DumpKind.Raw, DumpKind.Elf, DumpKind.Kdump), (raw.Kind, elf.Kind, kdump.Kind));
        Assert.Empty(elf.Missing);
        Assert.Empty(kdump.Missing);
        Assert.Equal(elf.Memory.Ranges, kdump.Memory.Ranges);
        Assert.Equal(0, Compare(raw, elf).NotRead);
        Assert.Equal(0, Compare(elf, kdump).NotRead);
    }

    [Fact]
    public void Registers_are_what_the_monitor_says()
    {
        foreach (string path in (string[])[dumps.Elf, dumps.Kdump])
        {
            using DumpTarget dump = Open(path);
            Assert.Equal(dumps.Control, dump.Vcpus.Select(v => new VcpuControlState(v.Cr0, v.Cr3, v.Cr4, dumps.Control[v.Vcpu].Efer, v.TrapTable)));
            string[] monitor = dumps.Monitor.Split("CPU#", StringSplitOptions.RemoveEmptyEntries)[^dump.Vcpus.Count..];
            foreach (VcpuRegisters vcpu in dump.Vcpus)
            {
                foreach ((string name, ulong value) in ((string, ulong)[])[("RIP", vcpu.Rip), ("RSP", vcpu.Gpr[Gpr.Rsp]), ("RAX", vcpu.Gpr[Gpr.Rax]), ("R15", vcpu.Gpr[Gpr.R15]), ("RDI", vcpu.Gpr[Gpr.Rdi])])
                    Assert.Equal(Regex.Match(monitor[vcpu.Vcpu], $@"\b{name}\s*=\s*([0-9a-f]+)").Groups[1].Value, value.ToString("x16", CultureInfo.InvariantCulture));
            }
        }

        using DumpTarget vmcore = Open(dumps.Vmcore), qemu = Open(dumps.Elf);
        Assert.Equal(qemu.Vcpus.Select(v => (v.Vcpu, v.Rip, v.Gpr[Gpr.Rbp])), vmcore.Vcpus.Select(v => (v.Vcpu, v.Rip, v.Gpr[Gpr.Rbp])));
        Assert.All(vmcore.Vcpus, v => Assert.Equal(RegisterGroups.Integer, v.Known));
    }

    [Fact]
    public void The_kernel_is_understood_from_every_file_of_qemu()
    {
        foreach (string path in (string[])[dumps.Elf, dumps.Kdump, dumps.Raw, dumps.Vmcore])
        {
            using DumpTarget dump = Open(path);
            AssertUnderstood(dump, all: true);
        }

        // Every vCPU is a CPU of the kernel.
        using DumpTarget elf = Open(dumps.Elf);
        using DumpKernel kernel = DumpKernel.Open(elf, TargetLimits.Default);
        Assert.Equal(Enumerable.Range(0, dumps.Control.Count), elf.Vcpus.Select(v => PerCpu.CpuOf(kernel.Kernel, v) ?? -1).Order());
    }

    [Theory]
    [InlineData("-c -d 31")]
    [InlineData("-l -d 31")]
    [InlineData("-l -d 31 -F")]
    [InlineData("-d 31 --split --splitblock-size 16")]
    [InlineData("-E -d 31 -F")]
    public async Task What_makedumpfile_writes_is_read(string options)
    {
        string[] files = await Makedumpfile.WriteAsync(options, dumps.Vmcore, dumps.File($"m{options.GetHashCode(StringComparison.Ordinal):x}"));
        using DumpTarget elf = Open(dumps.Elf), dump = Open(files);
        Assert.Equal(options.Contains("-E", StringComparison.Ordinal) ? DumpKind.Elf : DumpKind.Kdump, dump.Kind);
        (long same, long notRead) = Compare(elf, dump, skipRom: true, every: 3);
        Assert.True(same > 3000, $"{same} pages read");
        Assert.True(notRead > 1000, $"{notRead} pages filtered");
        Assert.NotEmpty(dump.Missing);
        AssertUnderstood(dump, all: FilterKnowsSlab);
        foreach (string file in files)
            File.Delete(file);
    }

    [Fact]
    public void A_truncated_dump_gives_what_it_holds()
    {
        foreach (string path in (string[])[dumps.Elf, dumps.Kdump])
        {
            string cut = dumps.File("cut");
            using (FileStream from = File.OpenRead(path), to = File.Create(cut))
            {
                byte[] part = new byte[from.Length * 2 / 3];
                from.ReadExactly(part);
                to.Write(part);
            }

            using DumpTarget elf = Open(dumps.Elf), dump = Open(cut);
            Assert.Contains(dump.Missing, m => m.Contains("truncated", StringComparison.Ordinal));
            (long same, long notRead) = Compare(elf, dump, skipRom: true, every: 16);
            Assert.True(same > 500 && notRead > 500, $"{same} pages read, {notRead} not");
        }
    }

    private static DumpTarget Open(params string[] paths) => DumpTarget.Open(paths, TargetLimits.Default);

    /// <summary>Every page (or every n-th) that both have is the same.</summary>
    private static (long Same, long NotRead) Compare(DumpTarget first, DumpTarget second, bool skipRom = false, ulong every = 1)
    {
        byte[] a = new byte[4096], b = new byte[4096];
        long same = 0, notRead = 0;
        foreach (PhysicalRange range in first.Memory.Ranges)
        {
            // makedumpfile's kdump formats leave QEMU's firmware out, which is no RAM to the guest.
            if (skipRom && range.Start.Value >= 0xff00_0000 && range.End.Value <= 1UL << 32)
                continue;
            for (ulong at = 0; at < range.Length; at += every * 4096)
            {
                Assert.True(first.Memory.TryRead(range.Start.Plus(at), a, out MemoryFault fault), $"{fault}");
                if (second.Memory.TryRead(range.Start.Plus(at), b, out fault))
                {
                    Assert.True(a.AsSpan().SequenceEqual(b), $"{range.Start.Plus(at)} differs");
                    same++;
                }
                else
                {
                    Assert.Equal(MemoryFaultKind.NotCaptured, fault.Kind);
                    notRead++;
                }
            }
        }

        return (same, notRead);
    }

    private void AssertUnderstood(DumpTarget dump, bool all)
    {
        using DumpKernel kernel = DumpKernel.Open(dump, TargetLimits.Default);
        ImageMeta meta = kernel.Image.Meta;
        Assert.Equal((dumps.Meta.Release, dumps.Meta.BuildId, dumps.Meta.TextBase, dumps.Meta.RootPhysical), (meta.Release, meta.BuildId, meta.TextBase, meta.RootPhysical));
        Assert.Equal(dumps.Symbols, kernel.Image.SymbolCount);
        Assert.Empty(meta.TextGaps);
        Assert.Equal(dumps.Meta.Modules.Select(m => m.Name), meta.Modules.Select(m => m.Name));
        var lost = new List<MemoryFault>();
        List<LinuxTask> tasks = Tasks.Enumerate(kernel.Kernel, TargetLimits.Default, lost);
        if (all)
        {
            Assert.Empty(lost);
            Assert.Equal(dumps.Tasks, tasks);
        }
        else
        {
            Assert.NotEmpty(tasks);
            Assert.Empty(tasks.Except(dumps.Tasks));
        }

        Assert.Equal(dumps.Log, Printk.Tail(kernel.Kernel, int.MaxValue, TargetLimits.Default).SelectMany(r => Makedumpfile.Lines(r.Text)));
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class DumpTests61(GuestDump61 dumps) : DumpTests(dumps), IClassFixture<GuestDump61>
{
    /// <inheritdoc/>
    protected override bool FilterKnowsSlab => true;
}

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class DumpTests612(GuestDump612 dumps) : DumpTests(dumps), IClassFixture<GuestDump612>
{
    /// <inheritdoc/>
    protected override bool FilterKnowsSlab => false;
}
