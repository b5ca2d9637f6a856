using Panacea.Diagnosis.Validators;
using Panacea.Kernel.Image;
using Panacea.Target;
using Panacea.TestKit;
using Panacea.TestKit.Linux;

namespace Panacea.Diagnosis.Tests.Validators;

public sealed class TextValidatorTests
{
    /// <summary>The tracer's call stands behind an ENDBR64, sealed or not; anywhere else it is a difference.</summary>
    [Theory]
    [InlineData("f30f1efa", 4, false)]
    [InlineData("660f1f00", 4, false)]
    [InlineData("0f1f40d6", 4, false)]
    [InlineData("90909090", 4, true)]
    public void A_traced_entry_is_no_difference(string prefix, int at, bool differs)
    {
        using var cache = new TemporaryDirectory();
        var guest = new SyntheticKernel();
        ulong function = guest["vfs_write"];
        guest.Write(function, [.. Convert.FromHexString(prefix), 0x0f, 0x1f, 0x44, 0x00, 0x00]);
        (ulong cr0, ulong cr3, ulong cr4, ulong efer) = guest.ControlRegisters;
        using RepairImage image = RepairImageBuilder.Build(guest.Memory, [new VcpuControlState(cr0, cr3, cr4, efer, 0)], cache.Path, TargetLimits.Default);
        guest.Write(function + (ulong)at, [0xe8, 1, 2, 3, 4]);
        CheckUpReport report = CheckUp.Run(new CheckContext(image.KernelOver(guest.Memory), TargetLimits.Default) { Pristine = image }, ["text"]);
        Assert.Equal(differs, report.IsBroken);
    }
}
