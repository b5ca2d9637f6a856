using System.Text;
using Panacea.Lab.Campaign.Runs;
using Panacea.Lab.Workloads;

namespace Panacea.Lab.Tests.Campaign;

/// <summary>What workloads say of themselves: what was promised and is gone is told from what does not work.</summary>
public sealed class WorkloadAnswersTests
{
    [Theory]
    [InlineData(0, "ok\n10000\n7\n", "", "")]
    [InlineData(0, "ok\n10000\n5\n", "", "bank: 6 transfers were acknowledged, 5 are there")]
    [InlineData(0, "ok\n9999\n7\n", "", "bank: the accounts hold 9999, not 10000")]
    [InlineData(0, "*** in database main ***\nTree 2 page 2: btreeInitPage() returns error code 11\n10000\n7\n", "", "bank: integrity check: *** in database main ***")]
    [InlineData(1, "Error: near line 1: database disk image is malformed\n", "", "bank: Error: near line 1: database disk image is malformed")]
    [InlineData(11, "Error: near line 1: file is not a database (26)\n", "", "bank: Error: near line 1: file is not a database (26)")]
    [InlineData(5, "Error: stepping, database is locked (5)\n", "bank: status 5, Error: stepping, database is locked (5)", "")]
    [InlineData(0, "", "bank: status 0, ", "")]
    public void A_bank_that_is_damaged_is_told_from_one_that_does_not_answer(int status, string output, string failure, string lost)
    {
        (IReadOnlyList<string> failures, IReadOnlyList<string> gone) = BankRun.Read(status, output, 6);
        Assert.Equal((failure, lost), (string.Concat(failures), string.Concat(gone)));
    }

    private const string Select = "*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n", One = "*2\r\n$4\r\nINCR\r\n$1\r\nk\r\n", Other = "*2\r\n$4\r\nINCR\r\n$1\r\nx\r\n";

    [Theory]
    [InlineData("", 0L)]
    [InlineData(Select + One + Other + One, 2L)]
    [InlineData(One + "*2\r\n$4\r\nincr\r\n$1\r\nk\r\n", 2L)]
    [InlineData(One + "*2\r\n$4\r\nINCR\r\n$1\r\n", 1L)]
    [InlineData(One + "*2\r", 1L)]
    [InlineData(One + "*2\r\n$4\r\nIN", 1L)]
    [InlineData(One + "\0\0\0\0\r\n" + One, null)]
    [InlineData(One + "*2\r\n$4\r\nINCRx\n" + One, null)]
    [InlineData("*0\r\n", null)]
    [InlineData("*2\r\n$-4\r\nINCR\r\n", null)]
    public void An_append_only_file_is_counted_as_far_as_it_goes(string log, long? count) => Assert.Equal(count, RespLog.CountOf(Encoding.UTF8.GetBytes(log), "INCR", "k"));
}
