using Panacea.Diagnosis.Machine;

namespace Panacea.Sessions.Tests;

/// <summary>What is read of a machine beside the session.</summary>
public sealed class AftermathTests
{
    private static readonly MachineReading Nothing = new(new MachineState(StateMoment.Running, null, null, null, null, null, null, null), null, null, [], []);

    /// <summary>The session has the next crash to wait for, and the image has to stay where it is still read.</summary>
    [Fact]
    public void A_reader_that_does_not_end_is_given_up()
    {
        using var guest = new ArmedGuest();
        using var end = new ManualResetEventSlim();
        var aftermath = new Aftermath(
            guest.Armed, guest.Guest.Memory,
            _ =>
            {
                end.Wait();
                return Nothing;
            },
            TimeSpan.Zero);
        Assert.True(aftermath.IsDone);
        Assert.Null(aftermath.Take(out _, out string? error));
        Assert.Equal("the state of the machine: its reader did not end in time and was given up", error);
        guest.Armed.Dispose();
        Assert.NotEqual(0UL, guest.Armed.Image.TryFindSymbol("oops_end", out ulong address) ? address : 0);
        end.Set();
    }

    [Fact]
    public void One_that_fails_says_why()
    {
        using var guest = new ArmedGuest();
        var aftermath = new Aftermath(guest.Armed, guest.Guest.Memory, _ => throw new InvalidOperationException("oh"), TimeSpan.FromMinutes(1));
        Assert.Null(aftermath.Take(out _, out string? error));
        Assert.Equal("the state of the machine: InvalidOperationException: oh", error);
    }

    [Fact]
    public void One_whose_memory_is_gone_ends_at_its_next_read()
    {
        using var guest = new ArmedGuest();
        using var revoked = new ManualResetEventSlim();
        bool read = true;
        var aftermath = new Aftermath(
            guest.Armed, guest.Guest.Memory,
            memory =>
            {
                revoked.Wait();
                read = memory.TryRead(memory.Ranges[0].Start, new byte[1], out _);
                return Nothing;
            },
            TimeSpan.FromMinutes(1));
        Assert.False(aftermath.IsDone);
        aftermath.Revoke();
        revoked.Set();
        Assert.Same(Nothing, aftermath.Take(out _, out _));
        Assert.False(read);
    }
}
