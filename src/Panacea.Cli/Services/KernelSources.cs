using Panacea.Cli.CommandLine;
using Panacea.Daemon;
using Panacea.Diagnosis.Machine;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.Target.Dump;

namespace Panacea.Cli.Services;

/// <summary>A kernel that can be looked at: a running guest's, or one in a dump.</summary>
internal interface IKernelSource : IDisposable
{
    /// <summary>What is known of the kernel.</summary>
    RepairImage Image { get; }

    /// <summary>Guest-physical memory; that of a running guest changes.</summary>
    IGuestMemory Memory { get; }

    /// <summary>What kind of source it is.</summary>
    SourceKind Kind { get; }

    /// <summary>One line about it for a person.</summary>
    string Description { get; }

    /// <summary>What it lacks, in sentences.</summary>
    IReadOnlyList<string> Missing { get; }

    /// <summary>Does something while the machine stands still. A running guest is stopped for as long as it takes, and the image may know more than <see cref="Image"/>: modules on their way in or out; what was got from <see cref="Memory"/> before is of no use afterwards.</summary>
    T Hold<T>(Func<StandingMachine, T> work, CancellationToken cancel);
}

/// <summary>Opens kernels.</summary>
internal static class KernelSources
{
    /// <summary>Opens a running guest or a dump.</summary>
    /// <exception cref="TargetException">It can't be reached, or is no dump.</exception>
    /// <exception cref="NotLinuxException">There is no Linux kernel in it.</exception>
    public static IKernelSource Open(SourceName source, CancellationToken cancel) =>
        source.Target is { } target ? GuestKernel.Open(target, cancel) : DumpSource.Open(source.Found().Files);

    private sealed class DumpSource(DumpTarget dump, DumpKernel kernel) : IKernelSource
    {
        public static DumpSource Open(IReadOnlyList<string> files)
        {
            DumpTarget dump = DumpTarget.Open(files, TargetLimits.Default);
            try
            {
                return new DumpSource(dump, DumpKernel.Open(dump, TargetLimits.Default));
            }
            catch
            {
                dump.Dispose();
                throw;
            }
        }

        public RepairImage Image => kernel.Image;

        public IGuestMemory Memory => dump.Memory;

        public SourceKind Kind => SourceKind.Dump;

        public string Description => dump.Description;

        public IReadOnlyList<string> Missing => kernel.Missing;

        public T Hold<T>(Func<StandingMachine, T> work, CancellationToken cancel) => work(new StandingMachine(kernel.Image, dump.Memory, kernel.Vcpus));

        public void Dispose()
        {
            kernel.Dispose();
            dump.Dispose();
        }
    }
}
