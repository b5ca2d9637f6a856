using System.Diagnostics;
using Panacea.Target.Qemu.Gdb;
using Panacea.Target.Qemu.Native;

namespace Panacea.Target.Qemu.Tests.Gdb;

public sealed class GdbClientTests
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(30);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void Handshake_reads_layout_vcpus_and_drains_the_unasked_stop(bool trickle)
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus()) { Trickle = trickle };
        stub.Send(FakeStub.Frame("T02thread:01;"));
        using GdbClient gdb = Open(stub);
        Assert.True(gdb.StoppedByConnecting);
        Assert.Equal([new GdbThread(1, 1), new GdbThread(1, 2)], gdb.Threads);
        Assert.Equal("i386:x86-64", gdb.Layout.Architecture);
        Assert.Equal(FakeStub.Names, gdb.Layout.Registers.Select(r => r.Name));
        Assert.True(gdb.Layout.TryFind("cs", out GdbRegister cs));
        Assert.Equal((18, (17 * 8) + 4, 4), (cs.Number, cs.Offset, cs.Size));
        Assert.Equal(2, stub.Received.Count(p => p == "?"));
        Assert.Contains("Hcp1.2", stub.Received);
        VcpuRegisters registers = gdb.ReadRegisters(1);
        Assert.Equal((1ul, 17ul, 18ul, 19, 21ul), (registers.Gpr[Gpr.Rax], registers.Rip, registers.Rflags, registers.Cs, registers.FsBase));
        Assert.Equal((3ul, 4ul, 2ul, 8ul), (registers.Gpr[Gpr.Rcx], registers.Gpr[Gpr.Rdx], registers.Gpr[Gpr.Rbx], registers.Gpr[Gpr.Rsp]));
        Assert.Equal((26ul, 29ul, 23ul), (registers.Cr3, registers.Efer, registers.KernelGsBase));
    }

    [Fact]
    public void A_guest_that_stood_still_is_told_apart()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus());
        using GdbClient gdb = Open(stub);
        Assert.False(gdb.StoppedByConnecting);
    }

    /// <summary>QEMU's stub passes over an interrupt as long as its last packet is not acknowledged: so it is where QMP's cont, not the client, has let the guest run.</summary>
    [Fact]
    public void An_interrupt_has_the_acknowledgement_that_is_owed_in_front_of_it()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus());
        using GdbClient gdb = Open(stub);
        gdb.ReadRegisters(1);
        int sent = stub.Received.Count;
        gdb.Interrupt();
        for (long deadline = Environment.TickCount64 + 10_000; stub.Received.Count < sent + 2 && Environment.TickCount64 < deadline;)
            Thread.Sleep(1);
        Assert.Equal(["+", "^C"], stub.Received.Skip(sent));
    }

    [Fact]
    public void Nothing_is_sent_to_a_running_guest_and_acknowledgements_ride_in_front_of_commands()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus());
        using GdbClient gdb = Open(stub);
        gdb.Continue(1);
        string[] sent = [.. stub.Received];
        Assert.Equal("vCont;c:p1.2", sent[^1]);
        Assert.Equal("+", sent[^2]);
        stub.Send(FakeStub.Frame("T05thread:p01.02;"));
        Assert.Equal(GdbWait.Stopped, gdb.WaitForStop(-1, Patience, out StopReply reply));
        Assert.Equal((true, 1), (reply.IsTrap, gdb.VcpuOf(reply.Thread)));

        // The stop itself is not acknowledged until there is a command.
        Assert.Equal(sent.Length, stub.Received.Count);
        gdb.WriteRegisters(1, [new RegisterWrite(WritableRegister.Rip, 0x1122334455667788), new RegisterWrite(WritableRegister.Rflags, 0x246)]);
        Assert.Equal(["+", "Hgp1.2", "g", "P10=8877665544332211", "P11=46020000"], stub.Received.Skip(sent.Length));

        // Read once in this stop: not again.
        gdb.WriteRegisters(1, [new RegisterWrite(WritableRegister.R15, 1)]);
        Assert.Equal(["+", "Pf=0100000000000000"], stub.Received.Skip(sent.Length + 5));
    }

    [Fact]
    public void Acknowledgements_can_be_left_out()
    {
        FakeStub stub = null!;
        stub = new FakeStub(FakeStub.TwoVcpus(p =>
        {
            if (p.StartsWith("qSupported", StringComparison.Ordinal))
                return "PacketSize=1000;qXfer:features:read+;QStartNoAckMode+";
            if (p == "QStartNoAckMode")
                stub.Silent = true;
            return null;
        }));
        using (stub)
        {
            using GdbClient gdb = Open(stub);
            int before = stub.Received.Count(p => p == "+");
            gdb.ReadRegisters(0);
            gdb.Continue();
            Assert.Equal(before, stub.Received.Count(p => p == "+"));
            Assert.Equal(1, stub.Received.SkipWhile(p => p != "QStartNoAckMode").Count(p => p == "+"));
        }
    }

    [Fact]
    public void A_damaged_answer_is_asked_for_again()
    {
        int asked = 0;
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p == "M1000,1:2a" && asked++ == 0 ? "!$OK#00" : null));
        using GdbClient gdb = Open(stub);
        gdb.WritePhysical(0x2000, [1]);
        var again = new Thread(() =>
        {
            SpinWait.SpinUntil(() => stub.Received.Contains("-"), Patience);
            stub.Send(FakeStub.Frame("OK"));
        });
        again.Start();
        gdb.WritePhysical(0x1000, [0x2a]);
        again.Join();
        Assert.False(gdb.IsBroken);
    }

    [Fact]
    public void A_command_that_was_damaged_is_sent_again()
    {
        int asked = 0;
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p == "M1000,1:2a" && asked++ < 2 ? "!-" : null));
        using GdbClient gdb = Open(stub);
        gdb.WritePhysical(0x2000, [1]);
        gdb.WritePhysical(0x1000, [0x2a]);
        Assert.Equal(3, asked);
    }

    [Theory]
    [InlineData("!$OK#00", GdbFailure.Protocol)]
    [InlineData("!-", GdbFailure.Protocol)]
    [InlineData("T05thread:p01.01;", GdbFailure.Protocol)]
    [InlineData("W00", GdbFailure.Protocol)]
    [InlineData("E22", GdbFailure.Refused)]
    [InlineData("", GdbFailure.Refused)]
    public void Bad_answers_to_a_batch_are_typed(string answer, GdbFailure kind)
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p.StartsWith('Z') ? answer : null));
        using GdbClient gdb = Open(stub);
        var e = Assert.Throws<GdbException>(() => gdb.ChangeBreakpoints([], [1, 2, 3]));
        Assert.Equal((kind, kind != GdbFailure.Refused), (e.Kind, gdb.IsBroken));
        if (kind == GdbFailure.Refused)
            Assert.Equal(17ul, gdb.ReadRegisters(0).Rip);
        else
            Assert.Equal(GdbFailure.Closed, Assert.Throws<GdbException>(() => gdb.ReadRegisters(0)).Kind);
    }

    [Fact]
    public void A_refusal_in_the_middle_of_a_batch_leaves_the_conversation_in_step()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p == "Hgp1.1" ? "E22" : null));
        using GdbClient gdb = Open(stub);
        Assert.Throws<GdbException>(() => gdb.ReadRegisters(new VcpuRegisters[2]));
        Assert.Equal(17ul, gdb.ReadRegisters(1).Rip);
    }

    [Fact]
    public void Silence_ends_by_timeout()
    {
        foreach (string? answer in (string?[])[null, "!$OK", "!garbage"])
        {
            using var stub = new FakeStub(_ => answer);
            using var gdb = new GdbClient(stub.Client) { CommandTimeout = TimeSpan.FromMilliseconds(30) };
            Assert.Equal(GdbFailure.Timeout, Assert.Throws<GdbException>(gdb.Handshake).Kind);
            Assert.True(gdb.IsBroken);
        }
    }

    [Theory]
    [InlineData(60_000)]
    [InlineData(200_000)]
    public void Oversize_answers_are_refused_only_beyond_the_limit(int length)
    {
        string big = new('0', length);
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p == "g" ? FakeStub.RegisterValues + big : null));
        using GdbClient gdb = Open(stub);
        if (length < 64 << 10)
            Assert.Equal(17ul, gdb.ReadRegisters(0).Rip);
        else
            Assert.Equal(GdbFailure.Protocol, Assert.Throws<GdbException>(() => gdb.ReadRegisters(0)).Kind);
    }

    [Theory]
    [InlineData("xxxxxxxxxxxxxxxx")]
    [InlineData("0")]
    [InlineData("")]
    [InlineData("E01")]
    public void Registers_that_are_not_there_are_an_error_and_never_zero(string g)
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p == "g" ? g : null));
        using GdbClient gdb = Open(stub);
        Assert.Equal(GdbFailure.Refused, Assert.Throws<GdbException>(() => gdb.ReadRegisters(0)).Kind);
    }

    [Fact]
    public void Run_lengths_and_escapes_are_unpacked()
    {
        // "0* " is four zeros (' ' - 29 = 3 more); '}' escapes.
        string packed = FakeStub.RegisterValues.Replace("00000000000000", "0*" + (char)(29 + 13), StringComparison.Ordinal);
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p == "g" ? packed : null));
        using GdbClient gdb = Open(stub);
        VcpuRegisters registers = gdb.ReadRegisters(0);
        Assert.Equal((17ul, 29ul, 1ul), (registers.Rip, registers.Efer, registers.Gpr[Gpr.Rax]));
    }

    [Fact]
    public void A_wait_is_ended_by_another_descriptor_without_polling()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus());
        using GdbClient gdb = Open(stub);
        using var wake = new WakeEvent();
        gdb.Continue();
        Assert.Equal(GdbWait.TimedOut, gdb.WaitForStop(wake.Fd, TimeSpan.Zero, out _));
        var signal = new Thread(wake.Signal);
        signal.Start();
        Assert.Equal(GdbWait.Woken, gdb.WaitForStop(wake.Fd, Patience, out _));
        signal.Join();
        wake.Clear();
        wake.Clear();
        Assert.Equal(GdbWait.TimedOut, gdb.WaitForStop(wake.Fd, TimeSpan.Zero, out _));

        // A stop wins over a wake.
        wake.Signal();
        stub.Send(FakeStub.Frame("T05thread:p01.01;"));
        Assert.Equal(GdbWait.Stopped, gdb.WaitForStop(wake.Fd, Patience, out _));
    }

    [Fact]
    public void A_stop_that_comes_with_the_acknowledgement_of_the_resume_is_not_lost()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p.StartsWith("vCont;c", StringComparison.Ordinal) ? "T05thread:p01.01;" : null));
        using GdbClient gdb = Open(stub);
        for (int i = 0; i < 50; i++)
        {
            gdb.Continue();
            Assert.Equal(GdbWait.Stopped, gdb.WaitForStop(-1, Patience, out StopReply reply));
            Assert.True(reply.IsTrap);
        }
    }

    [Fact]
    public void A_refused_resume_is_told()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus(p => p.StartsWith("vCont", StringComparison.Ordinal) ? "E22" : null));
        using GdbClient gdb = Open(stub);
        var e = Assert.Throws<GdbException>(() =>
        {
            gdb.Continue();
            gdb.WaitForStop(-1, Patience, out _);
        });
        Assert.Equal(GdbFailure.Refused, e.Kind);
    }

    [Fact]
    public void The_end_of_qemu_is_told_as_such()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus());
        using GdbClient gdb = Open(stub);
        gdb.Continue();
        stub.Send(FakeStub.Frame("W00"));
        Assert.Equal(GdbWait.Stopped, gdb.WaitForStop(-1, Patience, out StopReply reply));
        Assert.Equal(StopKind.Exited, reply.Kind);
        stub.Raw.Shutdown(System.Net.Sockets.SocketShutdown.Both);
        Assert.Equal(GdbFailure.Closed, Assert.Throws<GdbException>(() => gdb.WaitForStop(-1, Patience, out _)).Kind);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    [InlineData(4)]
    public void Noise_is_a_typed_failure_or_a_timeout(int seed)
    {
        var random = new Random(seed);
        for (int round = 0; round < 40; round++)
        {
            byte[] noise = new byte[random.Next(1, 300)];
            random.NextBytes(noise);
            for (int i = 0; i < noise.Length; i++)
            {
                if (random.Next(3) == 0)
                    noise[i] = (byte)"$#+-}*TSWXOmEl0123:;,."[random.Next(22)];
            }

            using var pair = new SocketPair();
            pair.Server.Send(noise);
            pair.Server.Shutdown(System.Net.Sockets.SocketShutdown.Send);
            using var gdb = new GdbClient(pair.Client) { CommandTimeout = Patience };
            Assert.Throws<GdbException>(gdb.Handshake);
        }
    }

    [Fact]
    public void The_hot_path_allocates_nothing_but_the_registers()
    {
        using var stub = new FakeStub(FakeStub.TwoVcpus());
        using GdbClient gdb = Open(stub);
        RegisterWrite[] writes = [new(WritableRegister.Rip, 1), new(WritableRegister.Rdi, 2)];
        ulong[] address = [0x1000];
        void Round()
        {
            gdb.WriteRegisters(0, writes);
            gdb.ChangeBreakpoints(address, address);
            gdb.WritePhysical(0x1000, [1, 2, 3, 4]);
        }

        for (int i = 0; i < 20; i++)
            Round();
        long before = GC.GetAllocatedBytesForCurrentThread();
        for (int i = 0; i < 20; i++)
            Round();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    private static GdbClient Open(FakeStub stub)
    {
        var gdb = new GdbClient(stub.Client) { CommandTimeout = Patience };
        gdb.Handshake();
        return gdb;
    }
}
