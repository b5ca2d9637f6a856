using Panacea.Kernel.Image;
using Panacea.Kernel.Unwind;

namespace Panacea.Diagnosis;

/// <summary>Which frame of a crashed stack is to blame.</summary>
internal static class FaultyFrames
{
    /// <summary>Index of the frame of the function at fault, or null with the reason.</summary>
    /// <param name="image">Symbols.</param>
    /// <param name="stack">The crashed stack.</param>
    /// <param name="isTrap">True for a trap, false where panic() was called.</param>
    /// <param name="whyNot">Why there is none.</param>
    public static int? Find(RepairImage image, Backtrace stack, bool isTrap, out string? whyNot) => Find(
        stack.Frames, f => f.Reliability == FrameReliability.Exact, f => image.IsText(f.Ip) ? image.Symbolize(f.Point.LookupAddress)?.Name : null, isTrap, out whyNot);

    /// <summary>The same of a CPU that does not get on: what stands above what it does is passed by.</summary>
    public static int? FindHanging(RepairImage image, Backtrace stack, CrashKind kind, out string? whyNot) => Find(
        stack.Frames, f => f.Reliability == FrameReliability.Exact, f => image.IsText(f.Ip) ? image.Symbolize(f.Point.LookupAddress)?.Name : null, false, f => BlamelessFunctions.StandsAbove(kind, f), out whyNot);

    /// <summary>The same over frames of any kind, innermost first.</summary>
    /// <param name="frames">The crashed stack.</param>
    /// <param name="isProved">The frame is no guess.</param>
    /// <param name="name">Its function; null where it lies outside of text.</param>
    /// <param name="isTrap">True for a trap, false where panic() was called.</param>
    /// <param name="whyNot">Why there is none.</param>
    public static int? Find<T>(IReadOnlyList<T> frames, Func<T, bool> isProved, Func<T, string?> name, bool isTrap, out string? whyNot) =>
        Find(frames, isProved, name, isTrap, f => BlamelessFunctions.Contains(f, isTrap), out whyNot);

    private static int? Find<T>(IReadOnlyList<T> frames, Func<T, bool> isProved, Func<T, string?> name, bool isTrap, Func<string, bool> isBlameless, out string? whyNot)
    {
        whyNot = null;
        for (int i = 0; i < frames.Count; i++)
        {
            if (!isProved(frames[i]))
                break;
            string? function = name(frames[i]);

            // A call through a bad pointer leaves RIP outside text; the caller is to blame.
            if (function is null)
            {
                if (i == 0 && isTrap)
                    continue;
                break;
            }

            if (isBlameless(function))
                continue;
            return i;
        }

        whyNot = "no frame of the stack could be proved to be the faulty function's";
        return null;
    }
}
