using Panacea.Lab.Guests;
using Panacea.Lab.Setup;

namespace Panacea.GuestTests.Harness;

/// <summary>One guest of a kernel line with its three workloads' programs ready, booted once and shared by the tests of a collection. They leave it alive; a test that kills
/// its guest boots one of its own.</summary>
public abstract class SharedGuest(string line) : IAsyncLifetime
{
    private Guest? _guest;

    /// <summary>The guest.</summary>
    public Guest Guest => _guest ?? throw new InvalidOperationException("not started");

    /// <summary>What it is started from.</summary>
    public GuestSpec Spec { get; } = new() { Line = line, Start = ["redis", "counter"] };

    /// <inheritdoc/>
    public async ValueTask InitializeAsync()
    {
        await Prerequisites.EnsureAsync(PrerequisiteUse.Guests, assumeYes: Environment.GetEnvironmentVariable("CI") is "true");
        _guest = await Guest.StartAsync(Spec);
    }

    /// <inheritdoc/>
    public async ValueTask DisposeAsync()
    {
        GC.SuppressFinalize(this);
        if (_guest is not null)
            await _guest.DisposeAsync();
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
