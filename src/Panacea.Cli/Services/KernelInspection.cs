using System.Globalization;
using System.Text;
using Panacea.Cli.CommandLine;
using Panacea.Formats.Btf;
using Panacea.Kernel;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Kernel.Types;
using Panacea.Kernel.Unwind;
using Panacea.Target;

namespace Panacea.Cli.Services;

/// <summary>Looks into kernels: those of running guests and those in dumps alike.</summary>
internal sealed class KernelInspection : IInspectionService
{
    /// <inheritdoc/>
    public IInspection Open(SourceName source, CancellationToken cancel) => new Inspection(KernelSources.Open(source, cancel), cancel);

    private sealed class Inspection(IKernelSource source, CancellationToken cancel) : IInspection
    {
        private const int Retries = 5;
        private static readonly TargetLimits Limits = TargetLimits.Default;
        private readonly LinuxKernel _kernel = source.Image.KernelOver(source.Memory);

        public IReadOnlyList<TaskRow> Tasks() => Retry(() => Kernel.Subsystems.Tasks.Enumerate(_kernel, Limits))
            .Select(t => new TaskRow(t.Pid, t.Tgid, t.Parent, t.State.ToString(), CpuOf(t), t.Comm, t.IsKernelThread, t.Address))
            .OrderBy(t => t.Pid).ToList();

        public IReadOnlyList<ModuleRow> Modules() => Retry(() => Kernel.Subsystems.Modules.Enumerate(_kernel, Limits))
            .Select(m => new ModuleRow(m.Name, m.Memory.FirstOrDefault(part => part.IsText).Start, checked((long)m.Size), StateOf(m), Taints(m.Taints))).ToList();

        public IReadOnlyList<LogRow> Log() => Retry(() => Printk.Tail(_kernel, int.MaxValue, Limits))
            .SelectMany(r => r.Text.Split('\n').Select(line => new LogRow(unchecked((long)r.TimestampNs), r.Level, line))).ToList();

        // The one question that needs the machine to stand still: registers and stacks have to fit together.
        public IReadOnlyList<BacktraceRow> Backtraces() => source.Hold(machine =>
        {
            LinuxKernel kernel = machine.Image.KernelOver(machine.Memory);
            return (IReadOnlyList<BacktraceRow>)[.. machine.Vcpus.Select(registers => BacktraceOf(kernel, registers))];
        }, cancel);

        public IReadOnlyList<SymbolRow> FindSymbol(string name)
        {
            RepairImage image = source.Image;
            if (name.StartsWith("0x", StringComparison.OrdinalIgnoreCase)
                && ulong.TryParse(name.AsSpan(2), NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture, out ulong address))
            {
                return image.Symbolize(address) is { } hit
                    ? [new SymbolRow($"{hit.Name}+0x{hit.Offset:x}", address, checked((long)hit.Size), image.IsText(address) ? "t" : "d", hit.Module)]
                    : [];
            }

            return [.. image.FindAll(name).Select(s => new SymbolRow(
                name, s.Address, image.Symbolize(s.Address) is { Offset: 0 } at ? checked((long)at.Size) : 0, s.Type.ToString(), s.Module))];
        }

        public TypeText? FindType(string name)
        {
            string[] words = name.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            BtfKind[] kinds = words is [var keyword, _] ? keyword switch
            {
                "struct" => [BtfKind.Struct],
                "union" => [BtfKind.Union],
                "enum" => [BtfKind.Enum, BtfKind.Enum64],
                _ => [],
            }
            : words.Length == 1 ? [BtfKind.Struct, BtfKind.Union, BtfKind.Enum, BtfKind.Enum64, BtfKind.Typedef, BtfKind.Func, BtfKind.Int] : [];
            var catalogs = new List<TypeCatalog> { source.Image.Types };
            foreach (ImageModule module in source.Image.Meta.Modules)
            {
                if (source.Image.TryTypesFor(module.Name, out TypeCatalog types))
                    catalogs.Add(types);
            }

            if (catalogs.TrueForAll(types => !types.IsPresent))
                throw new CliException(ExitCodes.Target, "this kernel has no type information (CONFIG_DEBUG_INFO_BTF is off)");
            foreach (TypeCatalog types in catalogs)
            {
                foreach (BtfKind kind in types.IsPresent ? kinds : [])
                {
                    if (types.Btf!.TryFind(words[^1], kind, out BtfType type))
                        return new TypeText(BtfFormatter.TypeName(type), types.Btf.TrySizeOf(type.Id, out int bytes) ? bytes : 0, BtfFormatter.Format(type, withOffsets: true));
                }
            }

            return null;
        }

        public void Dispose() => source.Dispose();

        /// <summary>Lists change under the reader's eyes; one that does not close, or leads nowhere, is read again.</summary>
        private T Retry<T>(Func<T> read)
        {
            for (int attempt = 1; ; attempt++)
            {
                try
                {
                    cancel.ThrowIfCancellationRequested();
                    return read();
                }
                catch (Exception e) when (attempt < Retries && e is GuestMemoryException or KernelShapeException)
                {
                    // Again.
                }
            }
        }

        private int? CpuOf(LinuxTask task)
        {
            // thread_info.cpu since 5.16 (commit bcf9033e5449, "sched: move CPU field back into thread_info if THREAD_INFO_IN_TASK=y"), task_struct.cpu before it.
            string? member = _kernel.HasMember("task_struct.thread_info.cpu") ? "task_struct.thread_info.cpu" : _kernel.HasMember("task_struct.cpu") ? "task_struct.cpu" : null;
            try
            {
                return member is null ? null : checked((int)_kernel.Read(task.Address, member));
            }
            catch (Exception e) when (e is GuestMemoryException or OverflowException)
            {
                return null; // It has ended meanwhile.
            }
        }

        private BacktraceRow BacktraceOf(LinuxKernel kernel, VcpuRegisters registers)
        {
            RepairImage image = source.Image;
            int? cpu = null;
            LinuxTask? task = null;
            ulong address = 0;
            try
            {
                cpu = PerCpu.CpuOf(kernel, registers);
                address = cpu is { } number ? PerCpu.CurrentTask(kernel, number) : 0;
                task = address != 0 ? Kernel.Subsystems.Tasks.ReadTask(kernel, address) : null;
            }
            catch (Exception e) when (e is GuestMemoryException or KernelShapeException)
            {
                // Then the stack is shown without its task.
            }

            var frames = new List<FrameRow>();
            if (!registers.IsUserMode)
            {
                var stacks = new StackMap([.. Stacks.Of(kernel, cpu, address).Select(s => new StackBounds(s.Start, s.End, KindOf(s.Name), cpu ?? -1))]);
                var unwinder = new OrcUnwinder(image, new CodeMap(image), image, kernel.Space, stacks, Limits);
                foreach (StackFrame frame in unwinder.Unwind(UnwindStart.From(registers)).Frames)
                {
                    string location = image.Symbolize(frame.Point.LookupAddress) is { } at
                        ? (at with { Offset = at.Offset + (frame.Ip - frame.Point.LookupAddress) }).ToString() : $"0x{frame.Ip:x16}";
                    frames.Add(new FrameRow(frame.Ip, location, frame.Reliability == FrameReliability.Exact));
                }
            }

            return new BacktraceRow(registers.Vcpu, task?.Pid, task?.Comm, registers.IsUserMode, frames);
        }

        private static StackKind KindOf(string name) => name switch
        {
            "task" => StackKind.Task,
            "irq" => StackKind.Irq,
            "df" => StackKind.DoubleFault,
            "nmi" => StackKind.Nmi,
            "db" => StackKind.Debug,
            "mce" => StackKind.MachineCheck,
            "vc" => StackKind.Vc,
            _ => StackKind.Unknown,
        };

        private static string StateOf(LinuxModule module) => module.State switch
        {
            0 => "live",
            1 => "coming",
            2 => "going",
            3 => "unformed",
            _ => module.State.ToString(CultureInfo.InvariantCulture),
        };

        /// <summary>Letters of the taint bits that a module can bring (kernel/panic.c, taint_flags).</summary>
        private static string Taints(ulong bits)
        {
            const string Letters = "PFSRMBUDAWCIOELKXTN";
            var text = new StringBuilder();
            for (int bit = 0; bit < Letters.Length; bit++)
            {
                if ((bits >> bit & 1) != 0)
                    text.Append(Letters[bit]);
            }

            return text.ToString();
        }
    }
}
