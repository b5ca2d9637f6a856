using Panacea.GuestTests.Harness;
using Panacea.Kernel.Code;
using Panacea.Kernel.Holdings;
using Panacea.Kernel.Image;
using Panacea.Kernel.Subsystems;
using Panacea.Lab.Guests;

namespace Panacea.GuestTests.Understanding;

/// <summary>What functions of the kernel and its modules hold where they return, by their own code: what the table of helpers says of them has to be so, and of most of the others the account has to come out even.</summary>
public abstract class HoldingTests(SharedGuest shared)
{
    [Fact]
    public async Task Helpers_do_what_the_table_says_and_of_most_other_functions_the_account_is_even()
    {
        Guest guest = await shared.AliveAsync();
        using KernelView view = KernelView.Open(guest);
        var map = new CodeMap(view.Image);
        ulong preemptCount = PerCpu.PreemptCountAddress(view.Kernel, 0);
        var analysis = new HoldingsAnalysis(view.Image, a => view.Image.Symbolize(a) is { Offset: 0 } at ? at.Name : null, map, preemptCount, view.Image.Meta.PerCpuBases[0]);
        HashSet<string> helpers = [.. LockFunctions.Helpers.Where(h => LockFunctions.Find(h)!.Kind != HoldingKind.Other)];
        var wrong = new List<string>();
        var unbalanced = new List<string>();
        int functions = 0, declined = 0, users = 0, compared = 0;
        foreach (string? module in view.Image.Meta.Modules.Select(m => (string?)m.Name).Prepend(null))
        {
            var seen = new HashSet<ulong>();
            foreach ((ulong address, char type, string name) in view.Image.EnumerateSymbols(module))
            {
                if (type is not ('t' or 'T' or 'w' or 'W') || !view.Image.IsText(address) || !seen.Add(address) || !map.TryFindFunction(address, out FunctionParts parts) || parts.Main.Start != address)
                    continue;
                functions++;
                if (!analysis.TryFindEnds(parts, out IReadOnlyList<FunctionEnd> ends, out _))
                {
                    declined++;
                    continue;
                }

                if (ends.Any(e => e.UsesLocks))
                    users++;
                if (LockFunctions.Find(name) is not { } known)
                {
                    if (ends.Any(e => !e.Holdings.IsBalanced))
                        unbalanced.Add(name);
                }
                else if (helpers.Contains(name))
                {
                    compared++;
                    if (!Agrees(known, ends))
                        wrong.Add($"{name}: {string.Join("; ", ends.Select(e => string.Join(",", e.Holdings.Held.Concat(e.Holdings.MayHold).Select(h => h.Kind + " by " + h.Function).Concat(e.Holdings.GivenBack.Select(k => "given back " + k)))))}");
                }
            }
        }

        TestContext.Current.TestOutputHelper?.WriteLine($"{view.Image.Meta.Release}: {functions} functions, {declined} declined, {users} take or give back something, {unbalanced.Count} of them not what they have taken; {compared} helpers compared");
        Assert.True(functions > 30_000 && declined < 20 && users > 5_000, $"{functions} functions, {declined} declined, {users} take or give back something");
        Assert.True(compared > 30, $"{compared} helpers");
        Assert.True(wrong.Count == 0, string.Join('\n', wrong));
        Assert.True(unbalanced.Count < users / 6, $"{unbalanced.Count} of {users}: {string.Join(' ', unbalanced)}");
    }

    /// <summary>The function's own code says what the table says of its calls.</summary>
    private static bool Agrees(LockFunction known, IReadOnlyList<FunctionEnd> ends)
    {
        bool Takes(FunctionEnd end, bool surely) => end.Holdings.Held.Concat(surely ? [] : end.Holdings.MayHold).Any(h => h.Kind == known.Kind);
        if (!known.Takes)
            return ends.Any(e => e.Holdings.GivenBack.Contains(known.Kind));
        if (known.Also is { } also && !ends.Any(e => e.Holdings.Held.Concat(e.Holdings.MayHold).Count(h => h.Kind == known.Kind || h.Kind == also) >= 2))
            return false;
        return known.When == TakenWhen.Always ? ends.All(e => Takes(e, surely: true)) : ends.Any(e => Takes(e, surely: false));
    }
}

/// <inheritdoc/>
[Collection(nameof(Guest61))]
public sealed class HoldingTests61(Guest61 guest) : HoldingTests(guest);

/// <inheritdoc/>
[Collection(nameof(Guest612))]
public sealed class HoldingTests612(Guest612 guest) : HoldingTests(guest);
