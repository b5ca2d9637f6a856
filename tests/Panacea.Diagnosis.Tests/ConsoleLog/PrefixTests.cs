using System.Globalization;
using System.Text;
using System.Text.RegularExpressions;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

/// <summary>The same log as other programs write it has the same diagnosis.</summary>
public sealed partial class PrefixTests
{
    public static TheoryData<string> Forms => [.. Ways.Keys];

    private static readonly Dictionary<string, Func<string, string, string>> Ways = new()
    {
        ["levels"] = (stamp, text) => $"<4>{stamp} {text}",
        ["caller ids"] = (stamp, text) => $"{stamp}[  T135] {text}",
        ["caller ids with a space"] = (stamp, text) => $"{stamp} [  T135] {text}",
        ["no stamps"] = (_, text) => text,
        ["syslog"] = (stamp, text) => $"Nov 25 10:00:00 web-1 kernel: {stamp} {text}",
        ["journald"] = (_, text) => $"Nov 25 10:00:00 web-1 kernel: {text}",
        ["journald, ISO"] = (_, text) => $"2025-11-25T10:00:00+00:00 web-1 kernel: {text}",
        ["journald, monotonic"] = (stamp, text) => $"{stamp} web-1 kernel: {text}",
        ["dmesg -T"] = (_, text) => $"[Tue Nov 25 10:00:00 2025] {text}",
        ["dmesg -x"] = (stamp, text) => $"kern  :warn  : {stamp} {text}",
        ["kmsg"] = (stamp, text) => $"4,77,{Micro(stamp)},-;{text}",
        ["kmsg with callers"] = (stamp, text) => $"4,77,{Micro(stamp)},-,caller=T135;{text}",
        ["serial"] = (stamp, text) => $"{stamp} {text}\r",
        ["terminal"] = (stamp, text) => $"\x1b[33m{stamp}\x1b[0m {text}\0",
        ["between logins"] = (stamp, text) => $"web-1 login: {stamp} {text}",
        ["other programs between"] = (stamp, text) => $"Nov 25 10:00:00 web-1 kernel: {stamp} {text}\nNov 25 10:00:00 web-1 systemd[1]: BUG: KASAN: no in report+0x1/0x2",
    };

    [Theory]
    [MemberData(nameof(Forms))]
    public void A_log_in_another_form_says_the_same(string form)
    {
        // Made samples have callers and pstore's headers of their own.
        foreach (string name in LogSamples.Names.Where(n => n.StartsWith("captured/", StringComparison.Ordinal)))
        {
            string text = Encoding.UTF8.GetString(LogSamples.Read(name));
            string other = Stamp().Replace(text, m => Ways[form](m.Groups[1].Value, m.Groups[2].Value));
            Assert.Equal((name, LogSamples.Expected(name)), (name, LogSamples.Summary(LogSamples.Diagnose(Encoding.UTF8.GetBytes(other)))));
        }
    }

    private static string Micro(string stamp) =>
        ((long)(double.Parse(stamp.Trim('[', ']', ' '), CultureInfo.InvariantCulture) * 1e6)).ToString(CultureInfo.InvariantCulture);

    [GeneratedRegex(@"^(\[ *\d+\.\d{6}\]) ?([^\r\n]*)\r?$", RegexOptions.Multiline)]
    private static partial Regex Stamp();
}
