using System.Collections.Concurrent;
using Panacea.Sessions.Control;
using Panacea.Target;
using Panacea.Target.Qemu.Gdb;

namespace Panacea.Sessions;

public sealed partial class GuardSession
{
    private readonly ConcurrentQueue<(GuestRequest Request, TaskCompletionSource<GuestAnswer> Answer)> _requests = new();
    private volatile bool _takesRequests;

    /// <summary>Opens the way on which requests come in, for the QEMU with the given process id; requests are handed to the function. Null where there is none.</summary>
    public Func<int, Func<GuestRequest, Task<GuestAnswer>>, IDisposable?>? OpenControl { get; init; }

    /// <summary>Asks something of the guest. From any thread: it is answered on the session's own, when it next looks.</summary>
    internal Task<GuestAnswer> Ask(GuestRequest request)
    {
        var answer = new TaskCompletionSource<GuestAnswer>(TaskCreationOptions.RunContinuationsAsynchronously);
        _requests.Enqueue((request, answer));
        if (_takesRequests)
            _target.Wake();
        else
            EndRequests();
        return answer.Task;
    }

    private IDisposable? BeginRequests()
    {
        _takesRequests = true;
        try
        {
            return OpenControl?.Invoke(_target.Pid, Ask);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or TargetException or System.Net.Sockets.SocketException)
        {
            Warn($"'panacea fuse', 'panacea quarantine' and 'panacea inject' can't reach this guard: {e.Message}");
            return null;
        }
    }

    /// <summary>Whoever asks from now on is told so.</summary>
    private void EndRequests()
    {
        _takesRequests = false;
        while (_requests.TryDequeue(out var waiting))
            waiting.Answer.TrySetResult(GuestAnswer.Wrong("the guard is ending; try again"));
    }

    private void AnswerRequests()
    {
        while (_requests.TryDequeue(out var waiting))
        {
            try
            {
                if (_target.Stopped is null)
                    Warn(RefreshModules(isStill: false));
                if (_armed is not { } armed)
                {
                    waiting.Answer.TrySetResult(GuestAnswer.Wrong("the guest's kernel is not up yet; try again"));
                    continue;
                }

                var requests = new GuestRequests(_target, armed, _limits);
                GuestAnswer answer = requests.Answer(waiting.Request);
                Note(requests);
                Note(waiting.Request, answer);
                waiting.Answer.TrySetResult(answer);
            }
            catch (TargetException e)
            {
                waiting.Answer.TrySetResult(GuestAnswer.Wrong(e.Message));
                if (e is not GdbException { Kind: GdbFailure.Late })
                    throw;
            }
            catch (Exception e)
            {
                // A request that makes no sense, or a bug of ours in answering it, ends nobody's protection.
                waiting.Answer.TrySetResult(GuestAnswer.Wrong($"the request could not be answered: {e.GetType().Name}: {e.Message}"));
            }
        }
    }
}
