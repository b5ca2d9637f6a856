using Panacea.Kernel.Code;
using Panacea.Kernel.Image;

namespace Panacea.Kernel.Tests.Image;

public sealed class CodeMapTests
{
    /// <summary>A variable that has a function's name is no second function of it: which function a cold part belongs to is plain.</summary>
    [Fact]
    public void A_cold_part_finds_its_function_though_a_variable_has_the_same_name()
    {
        using var g = new KernelGuest();
        Assert.Equal(2, g.Image.FindAll("ct_moved").Count);
        ulong main = g.Image.FindAll("ct_moved").Single(s => g.Image.IsText(s.Address)).Address, cold = g.Guest["ct_moved.cold"];
        var map = new CodeMap(g.Image);
        Assert.True(map.TryFindFunction(cold + 1, out FunctionParts function));
        Assert.Equal((main, cold), (function.Main.Start, function.Fragments!.Single().Start));
        Assert.True(map.TryFindFunction(main, out FunctionParts whole));
        Assert.Equal(cold, whole.Fragments!.Single().Start);
    }
}
