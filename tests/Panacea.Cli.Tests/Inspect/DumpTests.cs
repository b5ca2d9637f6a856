using System.Globalization;
using System.Text.Json;
using Panacea.Cli.Services.Inspection;
using Panacea.TestKit;
using Panacea.TestKit.Dumps;
using Panacea.TestKit.Linux;

namespace Panacea.Cli.Tests.Inspect;

/// <summary>The real inspections over a dump of a synthetic kernel.</summary>
public sealed class DumpTests : IDisposable
{
    private readonly TemporaryDirectory _directory = new();
    private readonly SyntheticKernel _guest = new(new SyntheticKernelOptions { Shape = KernelShape.Linux612 });

    public DumpTests()
    {
        _guest.Link();
        Dump();
    }

    private void Dump()
    {
        (ulong cr0, ulong cr3, ulong cr4, _) = _guest.ControlRegisters;
        File.WriteAllBytes(_directory.File("dump"), ElfCoreBytes.Write(
            _guest.Memory, new DumpNotes().AddQemu(5, [cr0, 0, 0, cr3, cr4], _guest.PerCpuBase(1), _guest["idt_table"]).Build()));
    }

    public void Dispose() => _directory.Dispose();

    private Outcome Inspect(params string[] words) =>
        new Harness { Inspect = source => new KernelInspections().Open(source, CancellationToken.None) }.Run(["inspect", _directory.File("dump"), .. words]);

    private static string Hex(ulong value) => value.ToString("x16", CultureInfo.InvariantCulture);

    [Fact]
    public void Words_are_read_by_symbol_offset_and_address_and_say_what_they_are()
    {
        ulong at = _guest["init_task"];
        string word = Inspect("read", "init_task").Out;
        Assert.StartsWith($"{Hex(at)}:  ", word, StringComparison.Ordinal);
        Assert.Equal(word, Inspect("read", $"0x{at:x}").Out);
        Assert.Equal(word, Inspect("read", Hex(at)).Out);
        Assert.Equal(Inspect("read", $"0x{at + 16:x}", "2").Out, Inspect("read", "init_task+0x10", "2").Out);
    }

    [Fact]
    public void A_structure_is_read_by_its_type()
    {
        JsonElement json = JsonDocument.Parse(Inspect("read", "init_task", "--as", "task_struct", "--json").Out).RootElement;
        Assert.Equal("struct task_struct", json.GetProperty("as").GetString());
        Assert.Contains(json.GetProperty("members").EnumerateArray(), m => m.GetProperty("name").GetString() == "pid" && m.GetProperty("value").GetString() == "0");
    }

    [Fact]
    public void Code_is_the_same_in_memory_and_image()
    {
        DisassemblyShape live = Shape(Inspect("disasm", "oops_end", "3", "--json")), pristine = Shape(Inspect("disasm", "oops_end", "3", "--pristine", "--json"));
        Assert.Equal(("memory", "image"), (live.From, pristine.From));
        Assert.Equal(live.Bytes, pristine.Bytes);
        Assert.Equal(_guest["oops_end"], live.Start);

        static DisassemblyShape Shape(Outcome outcome)
        {
            Assert.Equal("", outcome.Error);
            JsonElement json = JsonDocument.Parse(outcome.Out).RootElement;
            return new DisassemblyShape(
                json.GetProperty("from").GetString()!, Convert.ToUInt64(json.GetProperty("start").GetString(), 16),
                string.Join(' ', json.GetProperty("instructions").EnumerateArray().Select(i => i.GetProperty("bytes").GetString())));
        }
    }

    private sealed record DisassemblyShape(string From, ulong Start, string Bytes);

    [Fact]
    public void Tasks_are_those_of_the_kernel()
    {
        JsonElement ps = JsonDocument.Parse(Inspect("ps", "--json").Out).RootElement;
        Assert.Contains(ps.EnumerateArray(), t => t.GetProperty("pid").GetInt32() == 1);
        Outcome task = Inspect("bt", "1");
        Assert.Equal(ExitCodes.Ok, task.ExitCode);
        Assert.StartsWith("PID: 1 ", task.Out, StringComparison.Ordinal);
    }

    /// <summary>At the end of its exit a task leaves the task list, and then goes on running for the last time.</summary>
    [Fact]
    public void A_task_that_runs_is_there_though_it_has_left_the_list()
    {
        _guest.Run(_guest.AddTask(77, "gone"), 1);
        Dump();
        Assert.Contains(JsonDocument.Parse(Inspect("ps", "--json").Out).RootElement.EnumerateArray(), t => t.GetProperty("pid").GetInt32() == 77);
        JsonElement stack = Assert.Single(JsonDocument.Parse(Inspect("bt", "--all", "--json").Out).RootElement.EnumerateArray(), t => t.GetProperty("pid").GetInt32() == 77);
        Assert.Equal(0, stack.GetProperty("vcpu").GetInt32());
    }

    [Theory]
    [InlineData(ExitCodes.NotFound, "no symbol 'nope'", "read nope")]
    [InlineData(ExitCodes.NotFound, "no symbol 'nope'", "disasm nope")]
    [InlineData(ExitCodes.NotFound, "nor a type of this guest", "read init_task --as nope")]
    [InlineData(ExitCodes.NotFound, "no CPU '99'", "read runqueues:99")]
    [InlineData(ExitCodes.NotFound, "no per-CPU variable 'nope'", "read nope:0")]
    [InlineData(ExitCodes.Usage, "is no offset", "read init_task+x")]
    [InlineData(ExitCodes.Usage, "no guest-physical address", "read init_task --physical")]
    [InlineData(ExitCodes.Usage, "more than the 1048576", "read init_task 2000000 --as u32")]
    [InlineData(ExitCodes.Usage, "more than the 1048576", "read init_task 2000000 --as task_struct")]
    [InlineData(ExitCodes.Target, "cannot access memory at guest-virtual 0x10", "read 0x10")]
    [InlineData(ExitCodes.Target, "cannot access memory at guest-physical", "read 0xfffffffffff0 --physical")]
    [InlineData(ExitCodes.Target, "no code can be read there", "disasm 0x10")]
    [InlineData(ExitCodes.Failure, "nope.rimg", "disasm oops_end --image /nope.rimg")]
    public void What_cannot_be_read_is_one_sentence(int code, string says, string line)
    {
        Outcome outcome = Inspect(line.Split(' '));
        Assert.Equal((code, ""), (outcome.ExitCode, outcome.Out));
        Assert.Contains(says, outcome.Error, StringComparison.Ordinal);
        Assert.Equal(1, outcome.Error.Count(c => c == '\n'));
    }
}
