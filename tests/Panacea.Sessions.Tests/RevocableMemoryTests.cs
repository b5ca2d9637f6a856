using Panacea.Target;
using Panacea.TestKit.Memory;

namespace Panacea.Sessions.Tests;

/// <summary>Memory that can be taken away from its reader.</summary>
public sealed class RevocableMemoryTests
{
    [Fact]
    public void After_it_is_revoked_every_read_fails()
    {
        var memory = new SparsePhysicalMemory(1 << 20);
        memory.Write(0x1000, 1, 2, 3, 4);
        var revocable = new RevocableMemory(memory);
        byte[] read = new byte[4];
        Assert.True(revocable.TryRead(new PhysicalAddress(0x1000), read, out _));
        Assert.Equal([1, 2, 3, 4], read);
        revocable.Revoke();
        Assert.False(revocable.TryRead(new PhysicalAddress(0x1000), read, out MemoryFault fault));
        Assert.Equal(MemoryFaultKind.NotCaptured, fault.Kind);
    }

    /// <summary>The mapping may go as soon as it is revoked: no read is under way then.</summary>
    [Fact]
    public async Task Revoking_waits_for_the_read_that_is_under_way()
    {
        using var reading = new ManualResetEventSlim();
        using var goOn = new ManualResetEventSlim();
        var slow = new SlowMemory(reading, goOn);
        var revocable = new RevocableMemory(slow);
        Task<bool> read = Task.Run(() => revocable.TryRead(new PhysicalAddress(0), new byte[8], out _));
        reading.Wait(TestContext.Current.CancellationToken);
        Task revoke = Task.Run(revocable.Revoke);
        Assert.False(revoke.IsCompleted);
        goOn.Set();
        await revoke;
        Assert.True(slow.IsDone);
        Assert.True(await read);
    }

    private sealed class SlowMemory(ManualResetEventSlim reading, ManualResetEventSlim goOn) : IGuestMemory
    {
        public bool IsDone { get; private set; }

        public IReadOnlyList<PhysicalRange> Ranges => [];

        public bool TryRead(PhysicalAddress address, Span<byte> destination, out MemoryFault fault)
        {
            reading.Set();
            goOn.Wait();
            IsDone = true;
            fault = default;
            return true;
        }
    }
}
