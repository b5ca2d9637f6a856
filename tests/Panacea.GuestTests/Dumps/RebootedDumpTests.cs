using System.Text.Json.Nodes;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;
using Panacea.Target.Dump;
using Panacea.TestKit;

namespace Panacea.GuestTests.Dumps;

/// <summary>A memory image of a guest that was reset: the kernel of the boot before lies in it too, and is not taken for the one that runs.</summary>
public abstract class RebootedDumpTests(SharedGuest shared)
{
    [Fact]
    public async Task The_kernel_of_the_last_boot_is_found()
    {
        Guest guest = await shared.AliveAsync();
        using var directory = new TemporaryDirectory();
        string before = directory.File("before"), after = directory.File("after");
        await SaveAsync(guest, before);
        // Not every boot leaves its kernel whole: of two, one mostly does.
        for (int boot = 0; boot < 2; boot++)
        {
            long console = guest.Console.Mark();
            await guest.Monitor.ExecuteAsync("system_reset");
            await guest.WaitUntilReadyAsync(Limits.Guest, TestContext.Current.CancellationToken, console);
        }

        await SaveAsync(guest, after);
        using KernelView view = KernelView.Open(guest);
        using DumpTarget first = DumpTarget.Open([before], TargetLimits.Default), second = DumpTarget.Open([after], TargetLimits.Default);
        using DumpKernel earlier = DumpKernel.Open(first, TargetLimits.Default), last = DumpKernel.Open(second, TargetLimits.Default);
        Assert.Equal((view.Image.Meta.TextBase, view.Image.Meta.RootPhysical), (last.Image.Meta.TextBase, last.Image.Meta.RootPhysical));
        Assert.DoesNotContain(last.Missing, m => m.Contains("boots", StringComparison.Ordinal));
        // KASLR has more than a thousand places: the same one twice would make this test say nothing.
        Assert.NotEqual(earlier.Image.Meta.TextBase, last.Image.Meta.TextBase);
        Assert.Contains(Tasks.Enumerate(last.Kernel, TargetLimits.Default), t => t.Pid == 1);
    }

    private async Task SaveAsync(Guest guest, string file)
    {
        await guest.Monitor.ExecuteAsync("stop");
        try
        {
            await guest.Monitor.ExecuteAsync("pmemsave", new JsonObject { ["val"] = 0, ["size"] = (long)shared.Spec.MemoryMiB << 20, ["filename"] = file });
        }
        finally
        {
            await guest.Monitor.ExecuteAsync("cont");
        }
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class RebootedDumpTests61(Guest61 guest) : RebootedDumpTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class RebootedDumpTests612(Guest612 guest) : RebootedDumpTests(guest);
