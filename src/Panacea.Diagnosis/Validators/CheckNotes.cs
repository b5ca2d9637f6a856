using Panacea.Kernel;
using Panacea.Kernel.Structures;
using Panacea.Target;

namespace Panacea.Diagnosis.Validators;

/// <summary>What a validator writes down while it looks.</summary>
/// <param name="context">What it looks at.</param>
/// <param name="family">Its name: findings are <c>check.FAMILY.what</c>.</param>
internal sealed class CheckNotes(CheckContext context, string family)
{
    /// <summary>One broken thing may break everything behind it: so many findings are told one by one.</summary>
    private const int MaxFindings = 100;

    private readonly List<string> _order = [];
    private readonly Dictionary<string, long> _checked = new(StringComparer.Ordinal);
    private readonly List<Finding> _findings = [];
    private readonly List<string> _skipped = [], _missing = [];
    private int _more;

    /// <summary>Memory that a walk led through is not in the dump.</summary>
    public bool HasLost { get; private set; }

    /// <summary>Counts an object.</summary>
    /// <returns>False where so many have been looked at that it is enough; that is noted.</returns>
    public bool Count(string what, long count = 1)
    {
        context.Cancel.ThrowIfCancellationRequested();
        if (!_checked.TryGetValue(what, out long before))
            _order.Add(what);
        if (before >= context.MaxObjects)
        {
            Skip($"no more than {context.MaxObjects} {what} were looked at");
            return false;
        }

        _checked[what] = before + count;
        return true;
    }

    /// <summary>Something is broken.</summary>
    /// <param name="what">Last part of the id.</param>
    /// <param name="confidence">How sure.</param>
    /// <param name="text">One sentence that names the object and the wrong value.</param>
    /// <param name="evidence">Addresses and values.</param>
    public void Found(string what, Confidence confidence, string text, params string[] evidence)
    {
        if (_findings.Count < MaxFindings)
            _findings.Add(new Finding($"check.{family}.{what}", text, evidence, confidence));
        else
            _more++;
    }

    /// <summary>Something is broken because something else is not where it has to be. Where memory is lost that has been looked through for it, it may be there, and nothing is told.</summary>
    /// <inheritdoc cref="Found" path="/param"/>
    public void Absent(string what, Confidence confidence, string text, params string[] evidence)
    {
        if (!HasLost)
            Found(what, confidence, text, evidence);
    }

    /// <summary>A walk broke off.</summary>
    public void Broken(string what, Exception e)
    {
        switch (e)
        {
            case StructureException s:
                Found(Name(s.Fault), SureOf(s.Fault), $"{what}: {s.Message}", $"at 0x{s.Address:x}");
                break;
            case GuestMemoryException m when m.Fault.Kind is MemoryFaultKind.NotCaptured or MemoryFaultKind.Gone:
                HasLost = true;
                Missing($"{what}: {e.Message}");
                break;
            case GuestMemoryException m:
                Found("unreadable", Confidence.Medium, $"{what}: {e.Message}", $"{m.Fault}");
                break;
            default:
                Missing($"{what}: {e.Message}");
                break;
        }
    }

    /// <summary>A reader says that a structure does not hold together; what a dump merely lacks is not broken.</summary>
    public void Structure(string sentence, string broken, params string[] evidence)
    {
        if (broken.Contains("not captured", StringComparison.Ordinal) || broken.Contains("the guest is gone", StringComparison.Ordinal))
            Missing($"{sentence}: {broken}");
        else
            Found("structure", Confidence.High, $"{sentence}: {broken}", evidence);
    }

    /// <summary>Does something, and notes where it breaks off.</summary>
    public void Guard(string what, Action look)
    {
        try
        {
            look();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            Broken(what, e);
        }
    }

    /// <summary>As <see cref="Guard"/> of what may be missing from a kernel or a dump without anything being broken.</summary>
    public T? Try<T>(string what, Func<T> read)
        where T : class
    {
        try
        {
            return read();
        }
        catch (Exception e) when (e is GuestMemoryException or KernelShapeException or OverflowException)
        {
            Missing($"{what}: {e.Message}");
            return null;
        }
    }

    /// <summary>Something was left out.</summary>
    public void Skip(string sentence)
    {
        if (!_skipped.Contains(sentence))
            _skipped.Add(sentence);
    }

    /// <summary>Something could not be read, or does not exist in this kernel.</summary>
    public void Missing(string sentence)
    {
        if (!_missing.Contains(sentence) && _missing.Count < MaxFindings)
            _missing.Add(sentence);
    }

    /// <summary>Half of an update looks like damage, and memory that stands still may have been stopped in the middle of one.</summary>
    public Confidence SureOf(StructureFault fault) => fault is StructureFault.BackPointer && !context.IsLive ? Confidence.Medium : Confidence.High;

    /// <summary>The result.</summary>
    public ValidatorResult Done()
    {
        if (_more > 0)
            Skip($"{_more} more findings are not told");
        return new ValidatorResult([.. _order.Select(w => new CheckedObjects(w, _checked.GetValueOrDefault(w)))], _findings, _skipped, _missing);
    }

    public static string Name(StructureFault fault) => fault switch
    {
        StructureFault.Cycle => "cycle",
        StructureFault.BackPointer => "back-pointer",
        StructureFault.TooLong => "too-long",
        StructureFault.Null => "null",
        StructureFault.Poison => "poison",
        _ => "shape",
    };
}
