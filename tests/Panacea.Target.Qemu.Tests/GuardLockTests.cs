namespace Panacea.Target.Qemu.Tests;

public sealed class GuardLockTests
{
    [Fact]
    public void Who_holds_a_vm_is_told_while_he_does()
    {
        string own = Environment.ProcessId.ToString(System.Globalization.CultureInfo.InvariantCulture);
        Assert.Null(GuardLock.HolderOf(Environment.ProcessId));
        using (GuardLock.Take(Environment.ProcessId))
        {
            Assert.Equal(own, GuardLock.HolderOf(Environment.ProcessId));
            AttachException second = Assert.Throws<AttachException>(() => GuardLock.Take(Environment.ProcessId));
            Assert.Equal(AttachFailure.AlreadyGuarded, second.Reason);
            Assert.Contains($"by Panacea with pid {own}", second.Message);
        }

        Assert.Null(GuardLock.HolderOf(Environment.ProcessId));
    }
}
