using System.CommandLine;
using System.CommandLine.Completions;
using System.Globalization;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;
using Panacea.Cli.Prompt;
using Panacea.Cli.Services;
using Panacea.Cli.Services.Inspection;

namespace Panacea.Cli.Commands.Inspect;

/// <summary>What the subcommands of <c>inspect</c> are made with: each asks an inspection one question, and prints the answer for a person or as JSON. The same tree parses a command line,
/// where the source is opened for the question, and a line of the prompt, where it is open already.</summary>
internal sealed class InspectTree
{
    /// <summary>What is being done after Ctrl-C.</summary>
    public const string LetGo = "still letting go of the VM; once more ends panacea at once";

    private readonly CliServices _services;
    private readonly Argument<SourceName>? _source;
    private readonly IInspectionSession? _session;
    private readonly InspectNames? _names;

    private InspectTree(CliConsole console, CliServices services)
    {
        (Console, _services) = (console, services);
        Json = Shared.Json("Print JSON: an array of objects, or one object.");
        Json.Recursive = true;
    }

    /// <summary>For a command line.</summary>
    public InspectTree(CliConsole console, CliServices services, Argument<SourceName> source)
        : this(console, services) => _source = source;

    /// <summary>For the lines of a prompt.</summary>
    public InspectTree(CliConsole console, CliServices services, IInspectionSession session, InspectNames names)
        : this(console, services) => (_session, _names) = (session, names);

    /// <summary>JSON instead of text.</summary>
    public Option<bool> Json { get; }

    /// <summary>Where answers go.</summary>
    public CliConsole Console { get; }

    /// <summary>Where text goes.</summary>
    public TextWriter Out => Console.Out;

    /// <summary>Makes a subcommand.</summary>
    /// <param name="name">Its name.</param>
    /// <param name="description">What it does.</param>
    /// <param name="examples">Lines behind <c>panacea inspect SOURCE</c>, and what each does.</param>
    /// <param name="ask">The question.</param>
    /// <param name="shape">Shape of the answer in JSON. Asked for when JSON is: the shapes of all subcommands take longer to work out than the rest of the start.</param>
    /// <param name="print">Prints the answer for a person; every guest string through Safe.</param>
    /// <param name="inputs">Arguments and options.</param>
    public PanaceaCommand Sub<T>(
        string name, string description, IReadOnlyList<(string Line, string Does)> examples, Func<ParseResult, IInspection, T> ask, Func<JsonTypeInfo<T>> shape, Action<T, ParseResult> print,
        params IReadOnlyList<Symbol> inputs)
    {
        string before = _session is null ? "panacea inspect pid:4242 " : "";
        var sub = new PanaceaCommand(name, description)
        {
            Examples = [.. examples.Select(e => (before + e.Line, e.Does))], Notes = _session is null ? [Shared.SourceNote] : [],
        };
        foreach (Symbol input in inputs)
        {
            if (input is Argument argument)
                sub.Add(argument);
            else
                sub.Add((Option)input);
        }

        if (_source is { } source)
        {
            // The library leaves the arguments of a parent alone where a subcommand follows.
            sub.Validators.Add(result =>
            {
                if (result.GetResult(source) is not { Tokens.Count: > 0 })
                    result.AddError($"inspect what? Write it before '{name}': panacea inspect SOURCE {name}");
            });
        }

        sub.SetAction(parsed =>
        {
            using var interrupts = new Interrupts(Console, LetGo);
            using IInspectionSession? own = _session is null
                ? Console.Progress("reading the kernel", () => _services.Inspection.Open(parsed.GetRequiredValue(_source!), interrupts.Token)) : null;
            IInspection guest = (_session ?? own!).Look(interrupts.Token);
            T answer = ask(parsed, guest);
            if (parsed.GetValue(Json))
                Out.WriteLine(JsonSerializer.Serialize(answer, shape()));
            else
                print(answer, parsed);
            foreach (string note in guest.Notes)
                Console.Note(note);
            return ExitCodes.Ok;
        });
        return sub;
    }

    /// <summary>An argument that is a symbol's name or an address.</summary>
    public Argument<string> Place(string name, string description) => Completed(new Argument<string>(name) { Description = description }, names => names.Symbols);

    /// <summary>An argument that is a type's name, with its keyword before it or not.</summary>
    public Argument<string[]> TypeName(string name, string description)
    {
        var argument = new Argument<string[]>(name) { Description = description, Arity = ArgumentArity.OneOrMore };
        CompleteTypes(argument.CompletionSources);
        return argument;
    }

    /// <summary>A process id.</summary>
    public static Argument<int?> Pid(string description, bool required) => new("PID")
    {
        Description = description,
        Arity = required ? ArgumentArity.ExactlyOne : ArgumentArity.ZeroOrOne,
        CustomParser = result => ParseNumber(result, "a process id", 0),
    };

    /// <summary>A number of things, at least one.</summary>
    public static Argument<int?> Count(string description) => new("COUNT")
    {
        Description = description,
        Arity = ArgumentArity.ZeroOrOne,
        CustomParser = result => ParseNumber(result, "a number of things to show", 1),
    };

    /// <summary>Completes an option or an argument with names of types, in the prompt.</summary>
    public void CompleteTypes(List<Func<CompletionContext, IEnumerable<CompletionItem>>> sources, params IReadOnlyList<string> others)
    {
        if (_names is { } names)
            sources.Add(context => InspectNames.StartingWith(names.Types, context.WordToComplete).Concat(others).Select(n => new CompletionItem(n)));
        else
            sources.Add(_ => others.Select(n => new CompletionItem(n)));
    }

    /// <summary>What was asked for, or exit code 5 with a sentence.</summary>
    public static T Found<T>(T? answer, string what)
        where T : class => answer ?? throw new CliException(ExitCodes.NotFound, $"this guest has no {what}");

    /// <summary>A number as a person writes it in a table.</summary>
    public static string N(long value) => value.ToString(CultureInfo.InvariantCulture);

    /// <summary>An address as crash writes it.</summary>
    public static string Hex(ulong value) => $"{value:x16}";

    /// <summary>A number or nothing.</summary>
    public static string? N(long? value) => value is { } number ? N(number) : null;

    private Argument<string> Completed(Argument<string> argument, Func<InspectNames, IReadOnlyList<string>> names)
    {
        if (_names is { } known)
            argument.CompletionSources.Add(context => InspectNames.StartingWith(names(known), context.WordToComplete).Select(n => new CompletionItem(n)));
        return argument;
    }

    private static int? ParseNumber(System.CommandLine.Parsing.ArgumentResult result, string what, int least)
    {
        string text = result.Tokens[0].Value;
        if (int.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out int number) && number >= least)
            return number;
        result.AddError($"'{text}' is not {what}");
        return null;
    }
}
