using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Harness;

/// <summary>One guest of a kernel line with its three workloads' programs ready, booted once and shared by the tests of a collection. Tests leave it alive; those whose point is
/// its death begin with <see cref="AliveAsync"/>, as does whoever comes after them.</summary>
public abstract class SharedGuest(string line) : IAsyncLifetime
{
    private Guest? _guest;

    /// <summary>The guest.</summary>
    public Guest Guest => _guest ?? throw new InvalidOperationException("not started");

    /// <summary>What it is started from.</summary>
    public GuestSpec Spec { get; } = new() { Line = line, Start = ["redis", "counter"] };

    /// <summary>The guest, or another one where a test has killed it.</summary>
    public async Task<Guest> AliveAsync()
    {
        if (!await LivesAsync(Guest))
        {
            await Guest.DisposeAsync();
            _guest = await Guest.StartAsync(Spec);
        }

        return Guest;
    }

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        await Prerequisites.EnsureAsync(PrerequisiteUse.Guests | PrerequisiteUse.Tests, assumeYes: Environment.GetEnvironmentVariable("CI") is "true");
        _guest = await Guest.StartAsync(Spec);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (_guest is not null)
            await _guest.DisposeAsync();
    }

    private static async Task<bool> LivesAsync(Guest guest)
    {
        try
        {
            return guest.IsRunning && (await guest.RunAsync("true", TimeSpan.FromSeconds(10))).Succeeded;
        }
        catch (Exception e) when (e is IOException or TimeoutException)
        {
            return false;
        }
    }
}

/// <summary>The shared guest of line 6.1.</summary>
public sealed class Guest61() : SharedGuest("6.1");

/// <summary>The shared guest of line 6.12.</summary>
public sealed class Guest612() : SharedGuest("6.12");

/// <summary>Tests on the guest of line 6.1.</summary>
[CollectionDefinition(nameof(Guest61))]
public sealed class Guest61Collection : ICollectionFixture<Guest61>;

/// <summary>Tests on the guest of line 6.12.</summary>
[CollectionDefinition(nameof(Guest612))]
public sealed class Guest612Collection : ICollectionFixture<Guest612>;
