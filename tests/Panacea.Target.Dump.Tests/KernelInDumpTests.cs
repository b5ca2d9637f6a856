using Panacea.Formats.Vmcore;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.TestKit;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Linux;

namespace Panacea.Target.Dump.Tests;

/// <summary>A synthetic kernel, dumped to a file and found again.</summary>
public sealed class KernelInDumpTests
{
    public enum Clue
    {
        VmcoreInfo,
        ControlRegisters,
        Search,
    }

    [Theory]
    [InlineData(Clue.VmcoreInfo, KernelShape.Linux61)]
    [InlineData(Clue.ControlRegisters, KernelShape.Linux612)]
    [InlineData(Clue.Search, KernelShape.Linux61)]
    public void The_kernel_is_found(Clue clue, KernelShape shape)
    {
        var guest = new SyntheticKernel(new SyntheticKernelOptions { Shape = shape });
        (ulong cr0, ulong cr3, ulong cr4, _) = guest.ControlRegisters;
        using var directory = new TemporaryDirectory();
        string path = directory.File("dump");
        File.WriteAllBytes(path, clue switch
        {
            Clue.VmcoreInfo => KdumpWriter.Write(guest.Memory, new() { Compression = PageCompression.Zstd, Notes = new DumpNotes().AddStatus(1, 5).Build(), VmcoreInfo = guest.VmcoreInfo })[0],
            Clue.ControlRegisters => ElfCoreBytes.Write(guest.Memory, new DumpNotes().AddQemu(5, [cr0, 0, 0, cr3, cr4], guest.PerCpuBase(1), guest["idt_table"]).Build()),
            _ => ElfCoreBytes.Write(guest.Memory, [])[(64 + 112)..],
        });
        using DumpTarget dump = DumpTarget.Open([path], TargetLimits.Default);
        using DumpKernel kernel = DumpKernel.Open(dump, TargetLimits.Default);
        Assert.Equal(guest.Release, kernel.Image.Meta.Release);
        Assert.Equal(guest.Tables.Root.Value, kernel.Image.Meta.RootPhysical);
        Assert.Equal(guest["idt_table"], kernel.Image.Meta.TrapTableAddress);
        Assert.Equal(4096, kernel.Image.TrapTable.Length);
        Assert.Contains(Tasks.Enumerate(kernel.Kernel, TargetLimits.Default), t => t.Pid == 1);
        Assert.Equal(clue == Clue.ControlRegisters ? 1 : null, dump.Vcpus.Count == 0 ? null : PerCpu.CpuOf(kernel.Kernel, dump.Vcpus[0]));
    }
}
