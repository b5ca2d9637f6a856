using System.Text;

namespace Panacea.Diagnosis.Tests.ConsoleLog;

/// <summary>Smoke test of the fuzz target: parts of all samples, mutated, mixed and cut.</summary>
public sealed class FuzzTargetTests
{
    private const int Cases = 20_000, MostLines = 40;

    private static readonly string[] Splices =
    [
        "Tainted: ", "Comm: ", " [#1]", "+0x", "/0x", " [", "]", "<", ">", "Code: ", "<TASK>", "</TASK>", "Call Trace:", "Kernel panic - not syncing: ", "BUG: KASAN: ", "[    1.000000]", "[ T1]", "\x1b[31m", "\u202e", "\0", "\r",
        "------------[ cut here ]------------", "---[ end trace 0 ]---", "0x", "ffffffffffffffff", "99999999999999999999", "WARNING: CPU: ", "task:", " state:D", "==========================", "%s%d%p", "{", "}", ": ", "/",
        "Nov 25 10:00:00 host kernel: ", "6,1,1,-;", "<4>", "CPU: 0 PID: ", "RIP: 0010:", "Modules linked in: ", "invoked oom-killer: ", "Out of memory: Killed process 1 (", "-> #1 (", "|", "`", "<b>", "](http://x)",
    ];

    [Fact]
    public void Mutated_logs_end_in_a_diagnosis()
    {
        string[][] samples = [.. LogSamples.Names.Select(n => Encoding.UTF8.GetString(LogSamples.Read(n)).Split('\n'))];
        for (int round = 0; round < Cases; round++)
        {
            byte[] input = Mutate(samples, new Random(round));
            try
            {
                FuzzTargets.ConsoleLog(input);
            }
            catch (Exception e)
            {
                Assert.Fail($"round {round}: {e}\n{Encoding.UTF8.GetString(input)}");
            }
        }
    }

    private static byte[] Mutate(string[][] samples, Random random)
    {
        var lines = new List<string>();
        for (int parts = random.Next(1, 4); parts > 0; parts--)
        {
            string[] sample = samples[random.Next(samples.Length)];
            int start = random.Next(4) == 0 ? random.Next(sample.Length) : random.Next(Math.Min(4, sample.Length));
            lines.AddRange(sample.Skip(start).Take(random.Next(MostLines)));
        }

        for (int edits = random.Next(8); edits > 0 && lines.Count > 1; edits--)
        {
            int at = random.Next(lines.Count);
            string line = lines[at];
            int where = random.Next(line.Length + 1);
            switch (random.Next(7))
            {
                case 0:
                    lines[at] = line.Insert(where, Splices[random.Next(Splices.Length)]);
                    break;
                case 1:
                    lines[at] = line[..where];
                    break;
                case 2:
                    lines[at] = line[where..];
                    break;
                case 3:
                    lines.RemoveAt(at);
                    break;
                case 4:
                    (lines[at], lines[^1]) = (lines[^1], line);
                    break;
                case 5:
                    lines[at] = line + lines[random.Next(lines.Count)];
                    break;
                default:
                    lines.Insert(at, lines[random.Next(lines.Count)]);
                    break;
            }
        }

        byte[] bytes = Encoding.UTF8.GetBytes(string.Join('\n', lines));
        for (int flips = random.Next(4); flips > 0 && bytes.Length > 0; flips--)
            bytes[random.Next(bytes.Length)] = (byte)random.Next(256);
        return bytes;
    }
}
