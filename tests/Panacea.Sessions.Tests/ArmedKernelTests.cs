using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

public sealed class ArmedKernelTests
{
    /// <summary>A module that comes between the reading of the list and the taking of its signature changes nothing afterwards: it has to be missed by itself.</summary>
    [Fact]
    public void A_module_that_the_image_does_not_know_is_missed()
    {
        using var cache = new TemporaryDirectory();
        using var g = new ArmedGuest();
        Assert.False(g.Armed.LacksModule(g.Guest.Memory, isStill: true));
        g.Guest.AddModule("crashtest");
        g.Guest.Link();
        Assert.True(g.Armed.LacksModule(g.Guest.Memory, isStill: false));
        using var fresh = new ArmedKernel(RepairImageBuilder.Refresh(g.Armed.Image, g.Guest.Memory, cache.Path, TargetLimits.Default), TargetLimits.Default);
        Assert.False(fresh.LacksModule(g.Guest.Memory, isStill: true));
    }

    /// <summary>The guest may stand meanwhile, and servers have a hundred modules: looking for one that is not known reads their pages, each once.</summary>
    [Fact]
    public void Looking_for_a_module_costs_less_than_two_reads_for_each()
    {
        const int count = 40;
        using var cache = new TemporaryDirectory();
        using var g = new ArmedGuest();
        for (int i = 0; i < count; i++)
            g.Guest.AddModule($"module{i}");
        g.Guest.Link();
        using var armed = new ArmedKernel(RepairImageBuilder.Refresh(g.Armed.Image, g.Guest.Memory, cache.Path, TargetLimits.Default), TargetLimits.Default);
        var memory = new CountingMemory(g.Guest.Memory);
        Assert.False(armed.LacksModule(memory, isStill: true));
        Assert.InRange(memory.Reads, 1, (2 * count) - 1);
    }

    private sealed class CountingMemory(IGuestMemory inner) : IGuestMemory
    {
        public int Reads { get; private set; }

        public IReadOnlyList<PhysicalRange> Ranges => inner.Ranges;

        public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
        {
            Reads++;
            return inner.TryRead(address, destination, out fault);
        }
    }

    /// <summary>Unloaded and loaded again at the same address, as a developer at work does: what is known of it is of another loading.</summary>
    [Fact]
    public void The_same_module_loaded_again_in_its_place_is_another_one()
    {
        using var g = new ArmedGuest();
        SyntheticModule module = g.Guest.AddModule("crashtest");
        g.Guest.Link();
        string? before = g.Armed.ModuleSignature(g.Guest.Memory);
        Assert.NotNull(before);
        Assert.Equal(before, g.Armed.ModuleSignature(g.Guest.Memory));
        g.Guest.Put(module.Directory, "kernfs_node.id", 77);
        Assert.NotEqual(before, g.Armed.ModuleSignature(g.Guest.Memory));
    }
}
