using Panacea.Target.Qemu.Clone;

namespace Panacea.Target.Qemu.Tests.Clone;

public sealed class CloneCommandLineTests
{
    private static readonly CloneParts Parts = new(
        new Dictionary<string, string> { ["ram"] = "/proc/7/fd/9" }, false,
        [
            new CloneDisk("disk", "#block1", "/machine/peripheral-anon/device[2]/virtio-backend", "raw", "/vm/disk.img", false, false),
            new CloneDisk("", "libvirt-1-format", "/machine/peripheral/virtio-disk0/virtio-backend", "qcow2", "/vm/snap,2.qcow2", false, false),
            new CloneDisk("", "libvirt-3-format", "/machine/peripheral/scsi0-0", "raw", "/dev/vg/lv", true, false),
            new CloneDisk("cd0", "", "ide0", null, null, false, false),
            new CloneDisk("", "vars", "", "raw", "/vm/vars.fd", false, true),
        ], true, null);

    /// <summary>What follows an option; all of them.</summary>
    private static string[] Values(IReadOnlyList<string> line, string option) => [.. line.Select((word, i) => (word, i)).Where(w => w.word == option).Select(w => line[w.i + 1])];

    private static IReadOnlyList<string> Of(params string[] original) => CloneCommandLine.Of(["-nodefaults", .. original], Parts);

    [Fact]
    public void The_machine_stays_and_what_talks_to_it_goes()
    {
        string[] machine = ["-machine", "q35,memory-backend=ram", "-m", "512M", "-smp", "2", "-cpu", "max", "-accel", "kvm", "-device", "pvpanic", "-kernel", "/k", "-append", "console=ttyS0 a=b", "-rtc", "base=utc"];
        IReadOnlyList<string> clone = Of([
            .. machine, "-S", "-daemonize", "-pidfile", "/p", "-qmp", "unix:/q,server=on,wait=off", "-monitor", "stdio", "-gdb", "tcp::1", "-vnc", ":1", "-name", "guest=a", "-incoming", "tcp:0:1", "-D", "/log", "-nographic", "-chroot", "/c", "-add-fd", "set=1,fd=3",
        ]);
        Assert.Equal(["-nodefaults", .. machine[..10], "-device", "driver=pvpanic", .. machine[12..], "-machine", "suppress-vmdesc=on", "-display", "none"], clone);
    }

    [Theory]
    [InlineData("memory-backend-memfd,id=ram,size=512M,share=on,seal=on")]
    [InlineData("""{"qom-type":"memory-backend-file","id":"ram","mem-path":"/dev/shm/x","share":true,"size":536870912,"prealloc":true}""")]
    public void Memory_is_a_private_mapping_of_the_originals(string backend)
    {
        string value = Assert.Single(Values(Of("-object", backend), "-object"));
        var option = QemuOption.Parse(value, "qom-type");
        Assert.Equal(("memory-backend-file", "ram", "/proc/7/fd/9", "off", "off"), (option["qom-type"], option["id"], option["mem-path"], option["share"], option["prealloc"]));
        Assert.Null(option["seal"]);
        Assert.Contains(option["size"], (string[])["512M", "536870912"]);
        Assert.Equal("on", QemuOption.Parse(Assert.Single(Values(CloneCommandLine.Of(["-nodefaults", "-object", backend], Parts with { IsMemoryOwn = true }), "-object")), "qom-type")["share"]);
    }

    [Fact]
    public void Memory_that_is_not_known_is_refused() => Assert.Contains("memory m1", Assert.Throws<CloneException>(() => Of("-object", "memory-backend-memfd,id=m1,size=1G,share=on")).Message, StringComparison.Ordinal);

    [Fact]
    public void Other_objects_stay() => Assert.Equal(["qom-type=iothread,id=io1"], Values(Of("-object", "iothread,id=io1"), "-object"));

    [Fact]
    public void Disks_get_an_overlay_and_leave_locks_alone()
    {
        IReadOnlyList<string> clone = Of("-drive", "if=none,id=disk,format=raw,file=/vm/old.img,cache=none,aio=native", "-device", "virtio-blk-pci,drive=disk");
        Assert.Equal(["if=none,id=disk,format=raw,file.driver=file,file.filename=/vm/disk.img,file.locking=off,snapshot=on"], Values(clone, "-drive"));
        Assert.Equal(["driver=virtio-blk-pci,drive=disk"], Values(clone, "-device"));
    }

    /// <summary>As libvirt starts VMs: the node that the device was started with may have been replaced since (a snapshot), and is found by the device.</summary>
    [Fact]
    public void Nodes_become_drives_of_what_they_hold_now()
    {
        IReadOnlyList<string> clone = Of(
            "-blockdev", """{"driver":"file","filename":"/vm/base.qcow2","node-name":"libvirt-2-storage"}""", "-blockdev", """{"driver":"qcow2","file":"libvirt-2-storage","node-name":"libvirt-2-format"}""",
            "-device", """{"driver":"virtio-blk-pci","drive":"libvirt-2-format","id":"virtio-disk0","bus":"pci.3"}""", "-device", """{"driver":"scsi-hd","drive":"libvirt-3-format","id":"scsi0-0"}""");
        Assert.Equal(
            [
                "if=none,id=libvirt-2-format,format=qcow2,file.driver=file,file.filename=/vm/snap,,2.qcow2,file.locking=off,snapshot=on",
                "if=none,id=libvirt-3-format,format=raw,file.driver=host_device,file.filename=/dev/vg/lv,file.locking=off,snapshot=on",
            ],
            Values(clone, "-drive"));
        Assert.Empty(Values(clone, "-blockdev"));
        Assert.StartsWith("{", Values(clone, "-device")[0], StringComparison.Ordinal);
    }

    [Fact]
    public void A_disk_that_can_not_be_found_is_refused() =>
        Assert.Contains("disk gone", Assert.Throws<CloneException>(() => Of("-device", "virtio-blk-pci,drive=gone")).Message, StringComparison.Ordinal);

    [Fact]
    public void An_empty_drive_stays_empty() => Assert.Equal(["id=cd0,if=none,media=cdrom"], Values(Of("-drive", "id=cd0,if=none,media=cdrom,readonly=on"), "-drive"));

    [Fact]
    public void What_is_only_read_needs_no_overlay() => Assert.Equal(
        ["if=pflash,unit=1,format=raw,file.driver=file,file.filename=/vm/vars.fd,file.locking=off,readonly=on"], Values(Of("-drive", "if=pflash,unit=1,format=raw,file=/vm/vars.fd"), "-drive"));

    [Fact]
    public void Old_words_for_disks_are_understood()
    {
        Assert.Equal("index=0,media=disk,format=raw,file.driver=file,file.filename=/vm/disk.img,file.locking=off,snapshot=on", Assert.Single(Values(Of("-hda", "/vm/disk.img"), "-drive")));
        Assert.Equal("index=0,media=disk,format=raw,file.driver=file,file.filename=/vm/disk.img,file.locking=off,snapshot=on", Assert.Single(Values(Of("/vm/disk.img"), "-drive")));
    }

    [Theory]
    [InlineData("user,id=net,hostfwd=tcp:127.0.0.1:0-10.0.2.15:22,guestfwd=tcp:1.2.3.4:1-cmd:sh", "type=user,id=net,restrict=on")]
    [InlineData("stream,id=net,addr.type=unix,addr.path=/passt", "type=user,id=net,restrict=on")]
    [InlineData("tap,id=net,fds=20:21,vhost=on,vhostfds=22:23", "type=tap,id=net,script=no,downscript=no,vhost=off,queues=2")]
    [InlineData("""{"type":"tap","fd":"20","vhost":true,"vhostfd":"22","id":"net"}""", "type=tap,id=net,script=no,downscript=no,vhost=off")]
    [InlineData("bridge,id=net,br=br0", "type=tap,id=net,script=no,downscript=no,vhost=off")]
    public void Networks_lead_nowhere(string original, string clone) => Assert.Equal([clone], Values(Of("-netdev", original), "-netdev"));

    [Fact]
    public void A_tap_needs_a_namespace_of_its_own() => Assert.Contains(
        "run Panacea as root", Assert.Throws<CloneException>(() => CloneCommandLine.Of(["-netdev", "tap,id=n"], Parts with { HasOwnNetwork = false })).Message, StringComparison.Ordinal);

    [Fact]
    public void The_old_words_for_networks_lead_nowhere_too()
    {
        Assert.Equal(["model=e1000,mac=52:54:00:12:34:56,type=user,restrict=on"], Values(Of("-nic", "tap,model=e1000,mac=52:54:00:12:34:56,script=/up"), "-nic"));
        Assert.Equal(["nic,model=e1000", "user,restrict=on"], Values(Of("-net", "nic,model=e1000", "-net", "tap"), "-net"));
    }

    /// <summary>QEMU makes a card, a serial and a parallel port where nobody asked for none.</summary>
    [Fact]
    public void What_QEMU_makes_by_itself_leads_nowhere_either()
    {
        IReadOnlyList<string> clone = CloneCommandLine.Of(["-m", "1G"], Parts);
        Assert.Equal(["nic", "user,restrict=on"], Values(clone, "-net"));
        Assert.Equal(["null"], Values(clone, "-serial"));
        Assert.Equal(["null"], Values(clone, "-parallel"));
        Assert.Equal(["none"], Values(clone, "-monitor"));
    }

    [Fact]
    public void Channels_lead_nowhere_or_to_whoever_looks()
    {
        string[] original = ["-chardev", "socket,id=mon0,path=/m,server=on,wait=off,mux=on", "-serial", "chardev:mon0", "-serial", "file:/log", "-serial", "none"];
        IReadOnlyList<string> blind = Of(original), seen = CloneCommandLine.Of(["-nodefaults", .. original], Parts with { Consoles = "/tmp/c" });
        Assert.Equal(["backend=null,id=mon0,mux=on"], Values(blind, "-chardev"));
        Assert.Equal(["chardev:mon0", "null", "none"], Values(blind, "-serial"));
        Assert.Equal(["backend=socket,id=mon0,path=/tmp/c/mon0.sock,server=on,wait=off,mux=on"], Values(seen, "-chardev"));
        Assert.Equal(["chardev:mon0", "unix:/tmp/c/serial1.sock,server=on,wait=off", "none"], Values(seen, "-serial"));
    }

    [Theory]
    [InlineData("-device", "vfio-pci,host=01:00.0", "vfio-pci")]
    [InlineData("-device", """{"driver":"vhost-user-fs-pci","chardev":"c","tag":"t"}""", "vhost-user-fs-pci")]
    [InlineData("-device", "tpm-crb,tpmdev=t", "TPM")]
    [InlineData("-fsdev", "local,id=f,path=/", "-fsdev")]
    [InlineData("-readconfig", "/c", "-readconfig")]
    [InlineData("-netdev", "vhost-vdpa,id=n,vhostdev=/dev/v", "vhost-vdpa")]
    [InlineData("-m", null, "ends with")]
    public void What_lives_outside_of_QEMU_is_refused(string option, string? value, string why) =>
        Assert.Contains(why, Assert.Throws<CloneException>(() => Of(value is null ? [option] : [option, value])).Message, StringComparison.Ordinal);
}
