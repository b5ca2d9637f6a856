using Panacea.Target.Qemu.Qmp;
using Panacea.Target.Qemu.Tests.Qmp;

namespace Panacea.Target.Qemu.Tests;

/// <summary>Guests that Panacea must not touch, as QEMU describes them.</summary>
public sealed class RefusalTests
{
    [Theory]
    [InlineData("aarch64", false, "", AttachFailure.NotX86)]
    [InlineData("i386", false, "", AttachFailure.NotX86)]
    [InlineData("x86_64", true, "", AttachFailure.Encrypted)]
    [InlineData("x86_64", true, "/objects/sev0", AttachFailure.Encrypted)]
    [InlineData("x86_64", false, "/objects/tdx0", AttachFailure.Encrypted)]
    public void Foreign_and_encrypted_guests_are_refused(string target, bool sev, string confidential, AttachFailure reason)
    {
        using FakeQmp server = Server(target, $"\"return\": {{\"enabled\": {(sev ? "true" : "false")}}}", $"\"return\": \"{confidential}\"");
        using QmpClient qmp = server.Open();
        Assert.Equal(reason, Assert.Throws<AttachException>(() => QemuAttacher.RefuseWhatIsNotServed(qmp)).Reason);
    }

    [Theory]
    [InlineData("\"error\": {\"class\": \"CommandNotFound\", \"desc\": \"x\"}", "\"error\": {\"class\": \"GenericError\", \"desc\": \"no such property\"}")]
    [InlineData("\"return\": {\"enabled\": false}", "\"return\": \"\"")]
    [InlineData("\"return\": 5", "\"return\": null")]
    public void Other_guests_are_served_whatever_their_qemu_knows(string sev, string confidential)
    {
        using FakeQmp server = Server("x86_64", sev, confidential);
        using QmpClient qmp = server.Open();
        QemuAttacher.RefuseWhatIsNotServed(qmp);
    }

    private static FakeQmp Server(string target, string sev, string confidential) => new(FakeQmp.Greeting, (command, id) => command switch
    {
        "query-cpus-fast" => $"{{\"id\": {id}, \"return\": [{{\"cpu-index\": 0, \"thread-id\": 1, \"target\": \"{target}\"}}]}}",
        "query-sev" => $"{{\"id\": {id}, {sev}}}",
        "qom-get" => $"{{\"id\": {id}, {confidential}}}",
        _ => null,
    });
}
