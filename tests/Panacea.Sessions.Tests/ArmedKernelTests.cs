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
}
