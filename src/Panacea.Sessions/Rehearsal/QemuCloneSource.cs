using System.Globalization;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Clone;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Sessions.Rehearsal;

/// <summary>Copies of a guest under QEMU.</summary>
/// <param name="target">The guest.</param>
internal sealed class QemuCloneSource(QemuTarget target) : ICloneSource
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(2);

    /// <inheritdoc/>
    public int AtOnce => Math.Max(1, Environment.ProcessorCount / target.VcpuCount);

    /// <inheritdoc/>
    public string? WhyNot()
    {
        try
        {
            CloneRecipe recipe = CloneRecipe.Of(target);
            _ = CloneCommandLine.Of(recipe.Arguments, new CloneParts(recipe.Memory, recipe.IsMemoryOwn, recipe.Disks, NetworkNamespace.Prefix.Count > 0, null));
            return null;
        }
        catch (TargetException e)
        {
            return e.Message;
        }
    }

    /// <inheritdoc/>
    public IClonesOfAMoment Freeze() => new Moment(CloneRecipe.Of(target), DeviceState.Save(target.Qmp));

    private sealed class Moment(CloneRecipe recipe, DeviceState state) : IClonesOfAMoment
    {
        public IGuestClone Start()
        {
            var clone = QemuClone.Start(recipe);
            try
            {
                clone.Load(state);
                return new Copy(clone, QemuTarget.Attach(new QemuTargetSpec(clone.QmpPath, 0), new QemuAttachOptions { Gdb = new GdbOptions { CommandTimeout = Patience } }));
            }
            catch
            {
                clone.Dispose();
                throw;
            }
        }

        public void Dispose() => state.Dispose();
    }

    private sealed class Copy(QemuClone clone, QemuTarget guest) : IGuestClone
    {
        public IGuestControl Guest => guest;

        /// <summary>Anonymous pages of its process (proc(5), status): what it has written of a private mapping is such.</summary>
        public long OwnMemory
        {
            get
            {
                try
                {
                    const string name = "RssAnon:";
                    string? line = File.ReadLines($"/proc/{clone.Pid}/status").FirstOrDefault(l => l.StartsWith(name, StringComparison.Ordinal));
                    return line is not null && long.TryParse(line.AsSpan(name.Length).Trim().TrimEnd("kB").Trim(), NumberStyles.None, CultureInfo.InvariantCulture, out long kib) ? kib << 10 : 0;
                }
                catch (Exception e) when (e is IOException or UnauthorizedAccessException)
                {
                    return 0;
                }
            }
        }

        public void Dispose()
        {
            // Killed first: there is nothing to be let go of in an orderly way.
            clone.Dispose();
            guest.Dispose();
        }
    }
}
