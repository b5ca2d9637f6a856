using System.Globalization;
using Panacea.GuestTests.Harness;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Understanding;

/// <summary>Symbols against the guest's own /proc/kallsyms: every one, duplicates counted.</summary>
public abstract class SymbolTests(SharedGuest shared)
{
    // kernel/kallsyms.c lists these beside the kernel's and the modules' symbols: ftrace trampolines, kprobe slots, BPF programs. They are no part of a table in the image.
    private static readonly string[] Dynamic = ["__builtin__ftrace", "__builtin__kprobes", "bpf"];

    private readonly record struct Line(ulong Address, char Type, string Name, string? Module);

    [Fact]
    public async Task Every_symbol_is_the_kernel_s_own()
    {
        Guest guest = await shared.AliveAsync();
        await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict");
        Line[] theirs = [.. (await guest.MustLinesAsync("cat /proc/kallsyms")).Select(Parse).Where(l => !Dynamic.Contains(l.Module))];
        using KernelView view = KernelView.Open(guest);
        string?[] modules = [.. view.Image.Meta.Modules.Select(m => m.Name)];
        Assert.Equal(theirs.Select(l => l.Module).OfType<string>().Distinct().Order(StringComparer.Ordinal), modules.Order(StringComparer.Ordinal));
        Assert.True(theirs.Count(l => l.Module is null) > 50_000, $"{theirs.Length} symbols");
        foreach (string? module in modules.Prepend(null))
        {
            IEnumerable<Line> ours = view.Image.EnumerateSymbols(module).Select(s => Normal(new Line(s.Address, s.Type, s.Name, module)));
            AssertSame(module ?? "the kernel", theirs.Where(l => l.Module == module), ours);
        }
    }

    [Fact]
    public async Task Every_function_is_found_by_its_address()
    {
        Guest guest = await shared.AliveAsync();
        await guest.MustAsync("echo 0 > /proc/sys/kernel/kptr_restrict");
        Line[] functions = [.. (await guest.MustLinesAsync("cat /proc/kallsyms")).Select(Parse).Where(l => l.Type is 't' or 'T' && !Dynamic.Contains(l.Module))];
        ILookup<ulong, string> names = functions.ToLookup(l => l.Address, l => l.Name);
        using KernelView view = KernelView.Open(guest);
        var wrong = new List<string>();
        foreach (Line f in functions.Where(f => view.Image.IsText(f.Address)))
        {
            if (view.Image.Symbolize(f.Address) is not { Offset: 0 } at || !names[f.Address].Contains(at.Name) || at.Module != f.Module)
                wrong.Add($"{f.Address:x} is {f.Name}, not {view.Image.Symbolize(f.Address)}");
        }

        Assert.True(wrong.Count == 0, $"{wrong.Count} of {functions.Length}:\n{string.Join('\n', wrong.Take(20))}");
        Assert.True(functions.Length > 20_000, $"{functions.Length} functions");
    }

    private static Line Parse(string line)
    {
        // "ffffffffc0201000 t virtnet_probe\t[virtio_net]"
        string[] parts = line.Split([' ', '\t'], StringSplitOptions.RemoveEmptyEntries);
        return Normal(new Line(
            ulong.Parse(parts[0], NumberStyles.AllowHexSpecifier, CultureInfo.InvariantCulture), parts[1][0], parts[2], parts.Length > 3 ? parts[3].Trim('[', ']') : null));
    }

    /// <summary>Of a module's symbol, /proc/kallsyms shows by the letter's case whether it is exported, not whether it is global.</summary>
    private static Line Normal(Line line) => line.Module is null ? line : line with { Type = char.ToLowerInvariant(line.Type) };

    private static void AssertSame(string what, IEnumerable<Line> theirs, IEnumerable<Line> ours)
    {
        var counts = new Dictionary<Line, int>();
        foreach (Line line in theirs)
            counts[line] = counts.GetValueOrDefault(line) + 1;
        foreach (Line line in ours)
            counts[line] = counts.GetValueOrDefault(line) - 1;
        string[] wrong = [.. counts.Where(c => c.Value != 0).Select(c => $"{(c.Value > 0 ? "not ours" : "ours alone")}: {c.Key.Address:x} {c.Key.Type} {c.Key.Name}")];
        Assert.True(wrong.Length == 0, $"{what}: {wrong.Length} symbols differ:\n{string.Join('\n', wrong.Take(20))}");
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class SymbolTests61(Guest61 guest) : SymbolTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class SymbolTests612(Guest612 guest) : SymbolTests(guest);
