using System.Globalization;
using System.Text;
using Panacea.GuestTests.Harness;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;
using Panacea.Target;

namespace Panacea.GuestTests.Understanding;

/// <summary>The printk ring against /dev/kmsg: every record.</summary>
public abstract class KernelLogTests(SharedGuest shared)
{
    private sealed record Line(ulong Sequence, int Facility, int Level, ulong Microseconds, string Text);

    [Fact]
    public async Task Every_record_is_what_dev_kmsg_says()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        // The second line has what /dev/kmsg escapes: a backslash, bytes outside ASCII, a control character.
        string mark = $"panacea-test {Guid.NewGuid():n}";
        await guest.MustAsync($"printf '<5>back\\\\slash \\303\\244 \\001 tab\\t.' > /dev/kmsg; echo '<3>{mark}' > /dev/kmsg; echo '<7>more' > /dev/kmsg");
        // A reader of /dev/kmsg waits for more at the end, so it is told where to stop; sed reads one line ahead.
        string[] lines = await guest.MustLinesAsync($"sed '/{mark}/q' /dev/kmsg");
        // Lines that begin with a space continue a record with its dictionary.
        Line[] theirs = [.. lines.Where(l => !l.StartsWith(' ')).Select(Parse)];
        Assert.Equal(mark, theirs[^1].Text);
        Assert.True(theirs.Length > 200, $"{theirs.Length} records");

        Line[] ours = [.. KernelView.Settled(() => Printk.Tail(view.Kernel, int.MaxValue, TargetLimits.Default))
            .Select(r => new Line(r.Sequence, r.Facility, r.Level, r.TimestampNs / 1000, r.Text))
            .Where(r => r.Sequence >= theirs[0].Sequence && r.Sequence <= theirs[^1].Sequence)];
        Assert.Equal(theirs, ours);
    }

    private static Line Parse(string line)
    {
        // "6,339,5140900,-;text" (Documentation/ABI/testing/dev-kmsg)
        int semicolon = line.IndexOf(';', StringComparison.Ordinal);
        string[] head = line[..semicolon].Split(',');
        int priority = int.Parse(head[0], CultureInfo.InvariantCulture);
        return new Line(
            ulong.Parse(head[1], CultureInfo.InvariantCulture), priority >> 3, priority & 7, ulong.Parse(head[2], CultureInfo.InvariantCulture), Unescape(line[(semicolon + 1)..]));
    }

    private static string Unescape(string text)
    {
        var bytes = new List<byte>();
        for (int i = 0; i < text.Length; i++)
        {
            if (text[i] == '\\' && i + 3 < text.Length && text[i + 1] == 'x')
            {
                bytes.Add(Convert.FromHexString(text.AsSpan(i + 2, 2))[0]);
                i += 3;
            }
            else
            {
                bytes.AddRange(Encoding.UTF8.GetBytes(text[i].ToString()));
            }
        }

        return Encoding.UTF8.GetString([.. bytes]);
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class KernelLogTests61(Guest61 guest) : KernelLogTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class KernelLogTests612(Guest612 guest) : KernelLogTests(guest);
