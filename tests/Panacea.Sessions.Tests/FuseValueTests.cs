using Panacea.Sessions.Control;

namespace Panacea.Sessions.Tests;

public sealed class FuseValueTests
{
    [Theory]
    [InlineData("-EIO", -5)]
    [InlineData("-ENOMEM", -12)]
    [InlineData("-ERESTARTSYS", -512)]
    [InlineData("-7", -7)]
    [InlineData("0", 0)]
    [InlineData("NULL", 0)]
    [InlineData("false", 0)]
    [InlineData("true", 1)]
    [InlineData("nothing", null)]
    public void Values_are_read(string text, int? expected)
    {
        Assert.True(FuseValue.TryParse(text, out int? value));
        Assert.Equal(expected, value);
    }

    [Theory]
    [InlineData("")]
    [InlineData("-")]
    [InlineData("EIO")]
    [InlineData("-EVIL")]
    [InlineData("99999999999")]
    [InlineData("0x5")]
    public void Other_words_are_none(string text) => Assert.False(FuseValue.TryParse(text, out _));
}
