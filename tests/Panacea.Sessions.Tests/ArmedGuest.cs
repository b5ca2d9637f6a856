using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Sessions.Tests;

/// <summary>A synthetic kernel with what a guard has made of it before a crash. Images are the same for equal options, so they are made once.</summary>
internal sealed class ArmedGuest : IDisposable
{
    private readonly TemporaryDirectory _cache = new();

    public ArmedGuest(SyntheticKernelOptions? options = null)
    {
        Guest = new SyntheticKernel(options);
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = Guest.ControlRegisters;
        Armed = new ArmedKernel(RepairImageBuilder.Build(Guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, 0)], _cache.Path, TargetLimits.Default), TargetLimits.Default);
    }

    public SyntheticKernel Guest { get; }

    public ArmedKernel Armed { get; }

    public void Dispose()
    {
        Armed.Dispose();
        _cache.Dispose();
    }
}
