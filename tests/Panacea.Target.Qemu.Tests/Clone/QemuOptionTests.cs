using Panacea.Target.Qemu.Clone;

namespace Panacea.Target.Qemu.Tests.Clone;

public sealed class QemuOptionTests
{
    [Theory]
    [InlineData("user,id=net,hostfwd=tcp::1-:2", "type=user,id=net,hostfwd=tcp::1-:2")]
    [InlineData("socket,id=c,path=/a,,b,server,nowait", "type=socket,id=c,path=/a,,b,server=on,wait=off")]
    [InlineData("id=x,file=", "id=x,file=")]
    [InlineData("virtio-net-pci,netdev=net,romfile=", "type=virtio-net-pci,netdev=net,romfile=")]
    [InlineData("a=b=c", "a=b=c")]
    [InlineData("", "type=")]
    public void Words_are_read_as_QEMU_reads_them(string text, string again) => Assert.Equal(again, QemuOption.Parse(text, "type").ToString());

    [Fact]
    public void JSON_is_read_as_the_same()
    {
        var option = QemuOption.Parse("""{"driver":"qcow2","node-name":"n","read-only":false,"cache":{"direct":true,"no-flush":false},"size":17,"list":["a",{"b":"c,d"}],"none":null}""", "driver");
        Assert.Equal("driver=qcow2,node-name=n,read-only=off,cache.direct=on,cache.no-flush=off,size=17,list.0=a,list.1.b=c,,d", option.ToString());
        Assert.Equal("c,d", option["list.1.b"]);
        Assert.Null(option["none"]);
    }

    [Theory]
    [InlineData("{")]
    [InlineData("{\"a\":1,\"a\":2}")]
    [InlineData("{}")]
    public void What_is_no_JSON_is_refused(string text) => Assert.Throws<CloneException>(() => QemuOption.Parse(text, "driver"));

    [Fact]
    public void The_last_of_several_values_counts_and_all_are_replaced()
    {
        var option = QemuOption.Parse("tap,id=a,id=b", "type");
        Assert.Equal("b", option["id"]);
        Assert.Equal("type=tap,id=c", option.With("id", "c").ToString());
        Assert.Equal("type=tap", option.Without(k => k == "id").ToString());
    }
}
