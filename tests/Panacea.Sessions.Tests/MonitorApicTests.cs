namespace Panacea.Sessions.Tests;

/// <summary>A local APIC as QEMU's monitor prints it (target/i386, x86_cpu_dump_local_apic_state).</summary>
public sealed class MonitorApicTests
{
    [Theory]
    [InlineData("236 ", 236)]
    [InlineData("34(level) 49 ", 49)]
    [InlineData("236 35(level) ", 236)]
    [InlineData("(none)", -1)]
    [InlineData("", null)]
    [InlineData("256 99999999999 -3 x", null)]
    public void The_most_urgent_interrupt_in_service_is_told(string listed, int? vector) => Assert.Equal(vector, MonitorApic.InService(Printed(1, listed), 1));

    /// <summary>Another CPU's says nothing of this one.</summary>
    [Fact]
    public void Another_CPU_s_is_not_taken_for_it() => Assert.Null(MonitorApic.InService(Printed(1, "236"), 0));

    [Theory]
    [InlineData("")]
    [InlineData("unknown command: 'info lapic'\r\n")]
    [InlineData("ISR\t 236\r\n")]
    public void An_answer_of_another_shape_tells_nothing(string text) => Assert.Null(MonitorApic.InService(text, 0));

    private static string Printed(int cpu, string listed) => $"dumping local APIC state for CPU {cpu} \r\n\r\nLVT0\t 0x00010700 active-hi edge  masked                      ExtINT (vec 0)\r\nICR2\t 0x01000000 mask 00000001 (APIC ID)\r\n"
        + $"ESR\t 0x00000000\r\nISR\t {listed}\r\nIRR\t 239 \r\n\r\nAPR 0x00 TPR 0x10 DFR 0x0f LDR 0x01 PPR 0xe0";
}
