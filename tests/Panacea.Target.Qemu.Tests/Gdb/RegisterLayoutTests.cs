using Panacea.Target.Qemu.Gdb;

namespace Panacea.Target.Qemu.Tests.Gdb;

public sealed class RegisterLayoutTests
{
    [Fact]
    public void Numbers_and_offsets_follow_the_description_over_included_files()
    {
        RegisterLayout layout = RegisterLayout.Read(annex => annex switch
        {
            "target.xml" => "<target><xi:include href='a.xml'/><xi:include href=\"b.xml\"/></target>",
            "a.xml" => "<feature><reg bitsize='32' name='one' group=\"a > b\"/><!-- <reg name='no' bitsize='8'/> --><reg name = \"two\" bitsize = \"80\"/></feature>",
            _ => "<feature name='x'><reg name='three' bitsize='64' regnum='2'></reg><flags id='f' size='4'><field name='' start='1' end='2'/></flags></feature>",
        });
        Assert.Equal(
            [new GdbRegister("one", 0, 0, 4), new GdbRegister("two", 1, 4, 10), new GdbRegister("three", 2, 14, 8)], layout.Registers);
        Assert.Throws<GdbException>(() => layout.Require("two"));
        Assert.Throws<GdbException>(() => layout.Require("four"));
    }

    [Theory]
    [InlineData("")]
    [InlineData("<target/>")]
    [InlineData("<reg name='a' bitsize='64'")]
    [InlineData("<reg name='a'/>")]
    [InlineData("<reg name='a' bitsize='-64'/>")]
    [InlineData("<reg name='a' bitsize='7'/>")]
    [InlineData("<reg name='a' bitsize='99999999999'/>")]
    [InlineData("<reg name='a' bitsize='64' regnum='5'/>")]
    [InlineData("<reg name='a' bitsize='64' regnum='-1'/>")]
    [InlineData("<reg name='a' bitsize='64'/><reg name='b' bitsize='64' regnum='0'/>")]
    [InlineData("<reg name='a' bitsize='64'/><reg name='b' bitsize='64' regnum='7'/>")]
    [InlineData("<xi:include href='target.xml'/>")]
    [InlineData("<!-- <reg name='a' bitsize='64'/>")]
    public void Malformed_descriptions_are_refused(string text) => Assert.Throws<GdbException>(() => RegisterLayout.Read(_ => text));

    [Fact]
    public void Too_many_registers_are_refused() =>
        Assert.Throws<GdbException>(() => RegisterLayout.Read(_ => string.Concat(Enumerable.Repeat("<reg name='a' bitsize='64'/>", 5000))));
}
