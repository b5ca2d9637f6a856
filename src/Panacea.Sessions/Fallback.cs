using System.Diagnostics;
using Panacea.Diagnosis;
using Panacea.Kernel.Subsystems;
using Panacea.Sessions.Dumping;
using Panacea.Sessions.Policy;
using Panacea.Target;
using Panacea.Target.Qemu;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Sessions;

/// <summary>What was done with a guest that died and was not repaired.</summary>
public sealed record FallbackResult
{
    /// <summary>What was done with the guest in the end: <see cref="FallbackAction.Leave"/> also where another thing was asked for and could not be done.</summary>
    public required FallbackAction Action { get; init; }

    /// <summary>The dump of the guest as it died; null where none was asked for, or it could not be written.</summary>
    public DumpRecord? Dump { get; init; }

    /// <summary>How to go on, in a sentence; null where nothing has to be done.</summary>
    public string? Next { get; init; }

    /// <summary>What of the policy could not be done, in sentences.</summary>
    public IReadOnlyList<string> Errors { get; init; } = [];
}

/// <summary>Carries out what a VM's policy has for deaths that are not repaired: first a dump, while the guest stands where it died, then what becomes of the guest. Whatever of it fails, the rest is
/// carried out, and nothing but the policy itself keeps a guest stopped.</summary>
/// <param name="policy">The policy.</param>
/// <param name="sink">Told of the death and of the dump's progress while the guest stands.</param>
/// <param name="open">Begins the file of a dump.</param>
/// <param name="limits">Ceilings.</param>
internal sealed class Fallback(FallbackPolicy policy, ISessionSink sink, Func<string, IDumpStore> open, TargetLimits limits)
{
    private static readonly TimeSpan ResetPatience = TimeSpan.FromSeconds(5), TellStep = TimeSpan.FromSeconds(1);

    /// <summary>Dumps of one session: a guest that crashes again and again must not fill the host's disk.</summary>
    internal const int MostDumps = 16;

    private IDumpStore? _file;
    private int _dumps;
    private (ulong Address, int Pid)? _last;
    private bool _isTold;

    /// <summary>The guest stands on purpose.</summary>
    public bool IsKept { get; private set; }

    /// <summary>True where the death was told of while the guest stood; false when asked again.</summary>
    public bool TakeTold()
    {
        bool told = _isTold;
        _isTold = false;
        return told;
    }

    /// <summary>Somebody has let a kept guest go on.</summary>
    public void LetGo() => IsKept = false;

    /// <summary>Another kernel runs now.</summary>
    public void Forget()
    {
        _last = null;
        IsKept = false;
    }

    /// <summary>Does it.</summary>
    /// <param name="target">The VM.</param>
    /// <param name="kernel">Its kernel.</param>
    /// <param name="guest">The guest, standing at its death point.</param>
    /// <param name="evidence">What is known of the death; null where it could not be read.</param>
    /// <param name="death">The death.</param>
    /// <param name="cancel">Ends a dump; the rest of the policy is carried out then.</param>
    /// <returns>What was done; null where this is the end of a death that was dealt with already, and is left to itself.</returns>
    /// <exception cref="GdbException">QEMU stopped answering.</exception>
    public FallbackResult? Take(IGuestControl target, ArmedKernel kernel, IHeldGuest guest, CrashEvidence? evidence, DeathEvent death, CancellationToken cancel)
    {
        // An oops that panics passes two death points.
        (ulong, int)? task = evidence?.Task is { } t ? (t.Address, t.Pid) : null;
        if (death.Point is not ("oops_end" or Hang.Point) && policy.Then != FallbackAction.Reset && task is not null && task == _last)
            return null;
        _last = task;
        List<string> errors = [];
        DumpRecord? dump = policy.DumpDirectory is { } directory ? Dump(target, kernel, guest, death, Path.Combine(directory, $"{death.Id}.vmcore"), errors, cancel) : null;
        FallbackAction action;
        try
        {
            action = Then(target, errors);
        }
        catch
        {
            // QEMU is lost, the dump is not.
            Finish(new FallbackResult { Action = FallbackAction.Leave, Dump = dump });
            throw;
        }

        IsKept = action == FallbackAction.KeepStopped;
        return new FallbackResult
        {
            Action = action, Dump = dump, Errors = errors,
            Next = !IsKept ? null : (death.Point == Hang.Point ? "the guest stands where it hangs; let it go on with" : "the guest stands where it died; let it go on to its own panic with")
                + " 'cont' on its monitor (virsh resume), or reset it with 'system_reset' and 'cont' (virsh reset, virsh resume)",
        };
    }

    /// <summary>Completes the dump, after the guest goes on.</summary>
    public FallbackResult Finish(FallbackResult result)
    {
        if (_file is not { } file)
            return result;
        _file = null;
        using (file)
        {
            try
            {
                file.Complete();
                return result;
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                return result with { Dump = null, Errors = [$"the dump could not be completed: {e.Message}", .. result.Errors] };
            }
        }
    }

    private DumpRecord? Dump(IGuestControl target, ArmedKernel kernel, IHeldGuest guest, DeathEvent death, string path, List<string> errors, CancellationToken cancel)
    {
        if (_dumps >= MostDumps)
        {
            errors.Add($"no dump was written: there are {MostDumps} of this guest since it is guarded; look after them, and start the guard again");
            return null;
        }

        IDumpStore? file = null;
        try
        {
            sink.OnEvent(death);
            _isTold = true;
            file = open(path);
            long told = 0;
            DumpSummary summary = CoreDump.Write(
                kernel.Image.KernelOver(target.Memory), guest.ReadAllRegisters(), PageFilterLevel.All, file,
                progress =>
                {
                    if (told != 0 && progress.DoneBytes < progress.TotalBytes && Stopwatch.GetElapsedTime(told) < TellStep)
                        return;
                    told = Stopwatch.GetTimestamp();
                    sink.OnEvent(new DumpProgressEvent(death.Vm, death.Id, path, progress.DoneBytes, progress.TotalBytes, (long)progress.Elapsed.TotalMicroseconds));
                },
                limits, cancel);
            (_file, file) = (file, null);
            _dumps++;
            return DumpRecord.Of(path, summary);
        }
        catch (Exception e) when (e is not GdbException { Kind: not GdbFailure.Refused })
        {
            errors.Add(e is OperationCanceledException ? "the dump was given up: the guard was interrupted"
                : $"the dump could not be written: {(e is IOException or UnauthorizedAccessException ? e.Message : $"{e.GetType().Name}: {e.Message}")}");
            return null;
        }
        finally
        {
            file?.Dispose();
        }
    }

    private FallbackAction Then(IGuestControl target, List<string> errors)
    {
        try
        {
            switch (policy.Then)
            {
                case FallbackAction.Reset:
                    target.Reset(ResetPatience);
                    break;
                case FallbackAction.KeepStopped:
                    target.KeepStopped();
                    break;
            }

            return policy.Then;
        }
        catch (TargetException e) when (e is not GdbException { Kind: not GdbFailure.Refused })
        {
            errors.Add(policy.Then == FallbackAction.Reset
                ? $"the guest could not be reset ({e.Message}): it was left to what it would have done alone"
                : $"the guest could not be kept stopped ({e.Message}): it was left to what it would have done alone");
            return FallbackAction.Leave;
        }
    }
}
