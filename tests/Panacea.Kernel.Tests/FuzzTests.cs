using System.Runtime.CompilerServices;
using Panacea.Kernel.Image;
using Panacea.Kernel.Tests.Image;
using Panacea.TestKit;
using Panacea.TestKit.Fuzzing;
using Panacea.TestKit.Linux;

namespace Panacea.Kernel.Tests;

/// <summary>Readers of damaged guests, code and images: they read, or fail typed.</summary>
public sealed class FuzzTests
{
    [Fact]
    public void Scheduling() => Guests(FuzzTargets.Scheduling, share: 3);

    [Fact]
    public void Resources() => Guests(FuzzTargets.Resources, share: 3);

    [Fact]
    public void Structures() => Guests(FuzzTargets.Structures, share: 1);

    [Fact]
    public void Machine_code()
    {
        byte[][] seeds = FuzzTargets.CodeSeeds;
        var mutator = new ByteMutator();
        Fuzzer.RunInputs(nameof(FuzzTargets.MachineCode), data => FuzzTargets.MachineCode(data), seeds, random =>
        {
            byte[] code = random.Next(4) == 0 ? new byte[random.Next(1, 200)] : mutator.Mutate(seeds, random);
            if (random.Next(4) == 0)
                random.NextBytes(code.AsSpan(random.Next(code.Length + 1)));
            return code;
        });
    }

    [Fact]
    public void Control_flow() => Bytes(nameof(FuzzTargets.ControlFlow), data => FuzzTargets.ControlFlow(data),
        [[2, 0, 0, 0, 1, 0, 0, 0, .. new int[] { -16, 16, 48, 64, 16 }.SelectMany(BitConverter.GetBytes)]]);

    [Fact]
    public void Image_files() => Bytes(nameof(FuzzTargets.ImageFile), data => FuzzTargets.ImageFile(data), FuzzTargets.ImageFiles(), (8, 32 + (30 * 48)), (32, 32 + (30 * 48)));

    [Fact]
    public void Image_sections()
    {
        using FuzzedGuest guest = FuzzTargets.Whole(KernelShape.Linux612);
        var sections = guest.Image.Sections.Select(s => s with { Bytes = s.Bytes.ToArray() }).ToList();
        FuzzTargets.ImageSections(sections, guest.Guest.TextBase);
        var mutator = new ByteMutator();
        Fuzzer.Run(nameof(FuzzTargets.ImageSections), random =>
        {
            int which = random.Next(sections.Count);
            List<ImageContainer.Section> damaged = [.. sections];
            damaged[which] = sections[which] with { Bytes = mutator.Mutate([sections[which].Bytes.ToArray()], random) };
            FuzzTargets.ImageSections(damaged, guest.Guest.TextBase);
        });
    }

    /// <summary>Put together of parsers that have targets of their own: fewer cases.</summary>
    [Fact]
    public void Making_an_image()
    {
        using FuzzedGuest old = FuzzTargets.Whole(KernelShape.Linux61), recent = FuzzTargets.Whole(KernelShape.Linux612);
        using var cache = new TemporaryDirectory();
        var ceilings = new FuzzCeilings { Reads = () => old.Guest.Memory.Reads + recent.Guest.Memory.Reads, MaxReads = 1_000_000, MaxBytes = 256 << 20 };
        Fuzzer.Run(nameof(FuzzTargets.MakeImage), random =>
        {
            FuzzedGuest guest = random.Next(2) == 0 ? old : recent;
            guest.Case(random, () => FuzzTargets.MakeImage(guest, cache.Path));
        }, ceilings, share: 50);
    }

    /// <summary>Both kernel lines in turn.</summary>
    private static void Guests(Func<KernelShape, FuzzedGuest> make, int share, [CallerMemberName] string name = "")
    {
        using FuzzedGuest old = make(KernelShape.Linux61), recent = make(KernelShape.Linux612);
        var ceilings = new FuzzCeilings { Reads = () => old.Guest.Memory.Reads + recent.Guest.Memory.Reads, MaxReads = 200_000 };
        Fuzzer.Run(name, random => (random.Next(2) == 0 ? old : recent).Case(random, share), ceilings);
    }

    private static void Bytes(string name, Action<byte[]> target, byte[][] corpus, params (int Start, int End)[] structure)
    {
        var mutator = new ByteMutator(structure);
        Fuzzer.RunInputs(name, target, corpus, random => mutator.Mutate(corpus, random));
    }
}
