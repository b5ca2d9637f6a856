using System.Text;
using Panacea.Target.Qemu.Tests.Gdb;
using Panacea.Target.Qemu.Tests.Qmp;
using Panacea.TestKit.Fuzzing;

namespace Panacea.Target.Qemu.Tests;

/// <summary>Every parser of what QEMU says, over damaged conversations.</summary>
public sealed class FuzzTests
{
    private static readonly string[] Json =
    [
        "{", "}", "[", "]", ":", ",", "\"", "\\u", "\\ud800", "\\\"", "null", "true", "1e999", "-", "99999999999999999999", "\"id\": 2", "\"return\"", "\"error\": {\"class\": 1}", "\"event\": \"STOP\"", "\"event\": \"\\udc00\"", "QMP",
    ];

    private static readonly string[] Xml = ["<", ">", "<!--", "-->", "/>", "<reg ", "name=\"", "bitsize=\"64\"", "bitsize=\"65536\"", "regnum=\"", "4294967295", "-1", "<xi:include href=\"a.xml\"/>", "'", "\"", "<architecture>"];

    private static readonly string[] Gdb = ["T05", "W00", "X09", "E01", "OK", "l", "m", "thread:p01.02;", "p-1.0", "mp1.1,p1.2", "0* ", "}", "xx", "!", "!+-+", "PacketSize=10;", "PacketSize=7fffffff;", "QStartNoAckMode+;"];

    private static readonly string[] Tree = ["AS \"memory\", root: system", "FlatView #1", "(prio 0, ram): ", "(prio 0, rom): ", " @", "-", "ffffffffffffffff", "0000000000000000", "): ", " owner:{dev", "pc.ram"];

    private static readonly string[] Options = ["-qmp", "-mon", "-chardev", "unix:", "chardev:", "socket,", ",,", ",", "=", "id=", "path=", "mode=control"];

    [Fact]
    public void Qmp_conversations() => Text(nameof(FuzzTargets.QmpStream), FuzzTargets.QmpStream, Json, Conversation);

    [Fact]
    public void Qmp_framing() => Text(nameof(FuzzTargets.QmpFraming), FuzzTargets.QmpFraming, Json, Conversation);

    [Fact]
    public void Gdb_conversations() => Text(nameof(FuzzTargets.GdbStream), FuzzTargets.GdbStream, Gdb, Answers(FakeStub.PartXml), Answers("<architecture>i386:x86-64</architecture><reg name=\"rip\" bitsize=\"64\"/>"));

    [Fact]
    public void Gdb_packets() => Bytes(nameof(FuzzTargets.GdbPackets), FuzzTargets.GdbPackets, Packets, "+$T05thread:p01.02;#ab$0* }]}#}#1c-$mp01.01,p01.02#aa"u8.ToArray());

    [Fact]
    public void Register_descriptions() => Text(nameof(FuzzTargets.RegisterDescription), FuzzTargets.RegisterDescription, Xml, FakeStub.PartXml, "<target><architecture>i386:x86-64</architecture>\n<xi:include href=\"part.xml\"/>\n</target>");

    [Fact]
    public void Memory_trees() => Text(nameof(FuzzTargets.Mtree), FuzzTargets.Mtree, Tree, """
        FlatView #0
         AS "I/O", root: io
         Root memory region: io
          0000000000000000-0000000000000007 (prio 0, i/o): dma-chan
        FlatView #1
         AS "memory", root: system
         AS "cpu-memory-0", root: system
         Root memory region: system
          0000000000000000-000000000009ffff (prio 0, ram): pc.ram KVM
          00000000000a0000-00000000000bffff (prio 1, ramd): vga.vram
          00000000000c0000-00000000000fffff (prio 0, rom): pc.bios @0000000000000000
          0000000000100000-00000000bfffffff (prio 0, ram): pc.ram @0000000000100000 KVM owner:{obj path=/objects/mem}
          00000000fffc0000-00000000ffffffff (prio 0, romd): system.flash0
          0000000100000000-000000013fffffff (prio 0, ram): pc.ram @00000000c0000000 KVM
        """);

    [Fact]
    public void Process_maps() => Text(nameof(FuzzTargets.Maps), FuzzTargets.Maps, ["-", ":", " ", "rw-s", "ffffffffffffffff", "/dev/shm/x (deleted)", "00:"], """
        7f0000000000-7f0020000000 rw-s 00000000 00:1a 4242                       /dev/shm/ram (deleted)
        7f0020000000-7f0020100000 rw-p 00000000 00:00 0
        ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0                  [vsyscall]
        """);

    [Fact]
    public void Command_lines() => Text(nameof(FuzzTargets.Arguments), FuzzTargets.Arguments, Options, "qemu-system-x86_64\n-qmp\nunix:/run/a,,b.sock,server=on\n-chardev\nsocket,id=m,path=/run/m.sock,server=on\n-mon\nchardev=m,mode=control\n-qmp\nchardev:m");

    private delegate void Target(ReadOnlySpan<byte> data);

    private static string[] Conversation =>
    [
        FakeQmp.Greeting + "{\"return\": {}, \"id\": 1}\r\n{\"return\": {\"status\": \"running\", \"running\": true}, \"id\": 2}\r\n"
            + "{\"timestamp\": {\"seconds\": 1700000000, \"microseconds\": 5}, \"event\": \"STOP\"}\r\n{\"return\": [{\"cpu-index\": 0, \"thread-id\": 77}], \"id\": 3}\r\n"
            + "{\"error\": {\"class\": \"GenericError\", \"desc\": \"no \\u00e9 \\ud83d\\ude00\"}, \"id\": 4}\r\n{\"return\": \"FlatView #0\\r\\n\", \"id\": 5}\r\n",
        FakeQmp.Greeting + "{\n  \"return\": {\n  },\n  \"id\": 1\n}\n{\"event\": \"GUEST_PANICKED\", \"data\": {\"action\": \"pause\", \"info\": null}}",
    ];

    private static byte[] Packets => Encoding.Latin1.GetBytes(string.Concat(Answers(FakeStub.PartXml).Split('\n').Select(line => "+" + FakeStub.Frame(line))));

    private static string Answers(string xml) => string.Join('\n', (string[])[
        "PacketSize=1000;qXfer:features:read+;vContSupported+;multiprocess+", "l" + xml.ReplaceLineEndings(""), "0", "mp01.01", "l", "OK", "T05thread:p01.01;", "OK", FakeStub.RegisterValues, "OK", "OK", "OK",
        "T05thread:p01.01;"]);

    private static void Text(string name, Target target, string[] words, params string[] corpus)
    {
        string[][] lines = [.. corpus.Select(text => text.Split('\n'))];
        var mutator = new TextMutator(words);
        Fuzzer.RunInputs(name, data => target(data), [.. corpus.Select(Encoding.UTF8.GetBytes)], random => mutator.Mutate(lines, random));
    }

    private static void Bytes(string name, Target target, params byte[][] corpus)
    {
        var mutator = new ByteMutator();
        Fuzzer.RunInputs(name, data => target(data), corpus, random => mutator.Mutate(corpus, random));
    }
}
