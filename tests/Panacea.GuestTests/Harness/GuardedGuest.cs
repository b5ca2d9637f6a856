using Panacea.Lab.Guests;
using Panacea.Lab.Workloads;

namespace Panacea.GuestTests.Harness;

/// <summary>The shared guest under a guard that stays between tests, with a client of its redis that must never see a loss.</summary>
public abstract class GuardedGuest(SharedGuest shared) : IAsyncLifetime
{
    private GuardProcess? _guard;
    private RedisLoad? _redis;
    private Guest? _guarded;

    /// <summary>The guest, alive and guarded.</summary>
    internal async Task<(Guest Guest, GuardProcess Guard)> ReadyAsync()
    {
        Guest guest = await shared.AliveAsync();
        if (_guard is not { IsRunning: true } || _guarded != guest)
        {
            await LetGoAsync();
            _guard = await GuardProcess.StartArmedAsync(guest);
            _redis = await RedisLoad.StartAsync(guest.RedisPort, $"guarded-{Guid.NewGuid():n}", Limits.Guest);
            _guarded = guest;
        }

        return (guest, _guard);
    }

    /// <summary>redis still answers, and has every value that it acknowledged.</summary>
    public async Task AssertNothingLostAsync()
    {
        RedisLoad redis = _redis ?? throw new InvalidOperationException("not started");
        await redis.WaitForAnswersAsync(3, Limits.Guest);
        Assert.Empty(redis.Status.Anomalies);
        Assert.Equal(0, redis.Status.Reconnects);
    }

    /// <inheritdoc/>
    public ValueTask InitializeAsync() => ValueTask.CompletedTask;

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        await LetGoAsync();
    }

    private async Task LetGoAsync()
    {
        if (_redis is not null)
            await _redis.DisposeAsync();
        if (_guard is not null)
            await _guard.DisposeAsync();
        (_redis, _guard) = (null, null);
    }
}

/// <summary>The guarded guest of line 6.1.</summary>
public sealed class Guarded61(Guest61 guest) : GuardedGuest(guest);

/// <summary>The guarded guest of line 6.12.</summary>
public sealed class Guarded612(Guest612 guest) : GuardedGuest(guest);
