using System.Diagnostics;
using System.Globalization;

namespace Panacea.TestKit.Fuzzing;

/// <summary>Runs fuzz targets over seeded cases. A case is its number: the same number is the same input, on every machine.</summary>
/// <remarks>
/// PANACEA_FUZZ_CASES says how many cases a target runs (unset: enough for a look while working; <c>./test</c> and CI: 20,000; <c>./test --fuzz N</c>: N), PANACEA_FUZZ_FIRST the number of the
/// first, PANACEA_FUZZ_TARGET the only target that runs. What a target may do in one case has ceilings that do not depend on the machine: bytes that are allocated, reads of guest memory. A case that does not end ends the process.
/// </remarks>
public static class Fuzzer
{
    private const int CasesWhileWorking = 1000;
    private static readonly TimeSpan LongestCase = TimeSpan.FromMinutes(3);

    /// <summary>Cases that a target runs.</summary>
    public static long Cases { get; } = FromEnvironment("PANACEA_FUZZ_CASES") ?? CasesWhileWorking;

    /// <summary>Number of the first case.</summary>
    public static long First { get; } = FromEnvironment("PANACEA_FUZZ_FIRST") ?? 0;

    /// <summary>Runs a target.</summary>
    /// <param name="target">Its name.</param>
    /// <param name="oneCase">One case, made of nothing but the numbers that it draws.</param>
    /// <param name="ceilings">What one case may cost.</param>
    /// <param name="share">The target runs one in this many of the cases: for what is put together of parsers that have targets of their own, and costs much.</param>
    /// <exception cref="FuzzFailedException">A case failed.</exception>
    public static void Run(string target, Action<Random> oneCase, FuzzCeilings? ceilings = null, int share = 1)
    {
        if (Environment.GetEnvironmentVariable("PANACEA_FUZZ_TARGET") is { Length: > 0 } only && only != target)
            return;
        ceilings ??= new FuzzCeilings();
        long cases = Math.Max(1, Cases / share), at = First;
        var clock = Stopwatch.StartNew();
        long lastSeen = -1;
        long mostBytes = 0, mostReads = 0;
        using var watch = new Timer(
            _ =>
            {
                long now = Interlocked.Read(ref at);
                if (now == lastSeen)
                    Environment.FailFast(Failed(target, now, $"has run for {LongestCase.TotalMinutes} minutes").Message);
                lastSeen = now;
            },
            null, LongestCase, LongestCase);
        for (long end = First + cases; at < end; Interlocked.Increment(ref at))
        {
            long bytes = GC.GetAllocatedBytesForCurrentThread(), reads = ceilings.Reads?.Invoke() ?? 0;
            try
            {
                oneCase(new Random(unchecked((int)at)));
            }
            catch (Exception e)
            {
                throw Failed(target, at, e.ToString(), e);
            }

            bytes = GC.GetAllocatedBytesForCurrentThread() - bytes;
            reads = (ceilings.Reads?.Invoke() ?? 0) - reads;
            (mostBytes, mostReads) = (Math.Max(mostBytes, bytes), Math.Max(mostReads, reads));
            if (bytes > ceilings.MaxBytes)
                throw Failed(target, at, $"{bytes} bytes were allocated, more than {ceilings.MaxBytes}");
            if (reads > ceilings.MaxReads)
                throw Failed(target, at, $"guest memory was read {reads} times, more than {ceilings.MaxReads}");
        }

        if (FromEnvironment("PANACEA_FUZZ_CASES") is not null)
        {
            Console.WriteLine(string.Create(
                CultureInfo.InvariantCulture,
                $"fuzz {target}: cases {First} to {First + cases - 1}, {clock.Elapsed.TotalSeconds:f1} s; at most {mostBytes} bytes, {mostReads} reads a case"));
        }
    }

    /// <summary>Runs a target over an empty input, over good ones, and over damaged ones.</summary>
    /// <param name="target">Its name.</param>
    /// <param name="oneInput">Takes one input.</param>
    /// <param name="corpus">Good inputs.</param>
    /// <param name="mutate">Damages one of them.</param>
    /// <param name="ceilings">What one case may cost.</param>
    public static void RunInputs(string target, Action<byte[]> oneInput, IReadOnlyList<byte[]> corpus, Func<Random, byte[]> mutate, FuzzCeilings? ceilings = null)
    {
        // For a fuzzer that begins with good inputs of its own.
        if (Environment.GetEnvironmentVariable("PANACEA_FUZZ_SEEDS") is { Length: > 0 } directory)
        {
            string into = Directory.CreateDirectory(Path.Combine(directory, target)).FullName;
            for (int i = 0; i < corpus.Count; i++)
                File.WriteAllBytes(Path.Combine(into, $"{i}"), corpus[i]);
            return;
        }

        oneInput([]);
        foreach (byte[] input in corpus)
            oneInput(input);
        Run(target, random => oneInput(mutate(random)), ceilings);
    }

    private static FuzzFailedException Failed(string target, long at, string what, Exception? inner = null) =>
        new($"{target}, case {at} (alone: PANACEA_FUZZ_FIRST={at} PANACEA_FUZZ_CASES=1): {what}", inner);

    private static long? FromEnvironment(string name) =>
        long.TryParse(Environment.GetEnvironmentVariable(name), NumberStyles.None, CultureInfo.InvariantCulture, out long value) ? value : null;
}

/// <summary>What one case of a fuzz target may cost.</summary>
public sealed record FuzzCeilings
{
    /// <summary>Bytes that may be allocated, the input included.</summary>
    public long MaxBytes { get; init; } = 64 << 20;

    /// <summary>Reads of guest memory that may be made.</summary>
    public long MaxReads { get; init; } = 1_000_000;

    /// <summary>Counts the reads; null where the target reads no guest.</summary>
    public Func<long>? Reads { get; init; }
}

/// <summary>A case of a fuzz target that broke a promise.</summary>
/// <param name="message">Which target, which case, how to run it alone, what happened.</param>
/// <param name="inner">What was thrown.</param>
public sealed class FuzzFailedException(string message, Exception? inner) : Exception(message, inner);
