using System.CommandLine;
using Panacea.Cli.CommandLine;
using Panacea.Cli.Output;

namespace Panacea.Cli.Commands;

/// <summary><c>panacea completion</c>: scripts that let a shell ask this binary what may come next.</summary>
internal static class CompletionCommand
{
    /// <summary>The command and its subcommands.</summary>
    public static PanaceaCommand Create(CliConsole console)
    {
        var command = new PanaceaCommand("completion", "Print a completion script for a shell.")
        {
            Examples =
            [
                ("source <(panacea completion bash)", "Completion in this bash."),
                ("panacea completion zsh > \"${fpath[1]}/_panacea\"", "Completion in every zsh to come."),
                ("panacea completion fish > ~/.config/fish/completions/panacea.fish", "Completion in every fish to come."),
            ],
        };
        foreach ((string shell, string example, string script) in (ReadOnlySpan<(string, string, string)>)
            [("bash", "source <(panacea completion bash)", Bash), ("zsh", "source <(panacea completion zsh)", Zsh), ("fish", "panacea completion fish | source", Fish)])
        {
            var sub = new PanaceaCommand(shell, $"Print the script for {shell}.") { Examples = [(example, $"Completion in this {shell}.")] };
            sub.SetAction(_ =>
            {
                console.Out.Write(script);
                return ExitCodes.Ok;
            });
            command.Add(sub);
        }

        return command;
    }

    // bash splits words at ':' (COMP_WORDBREAKS), which targets contain: what stands before the last colon of the word is taken off again.
    private const string Bash = """
        # bash completion for panacea; use: source <(panacea completion bash)
        _panacea() {
          local line="${COMP_LINE:0:COMP_POINT}" word item
          word="${line##* }"
          COMPREPLY=()
          while IFS= read -r item; do
            [[ "$item" == "$word"?* ]] || continue
            [[ "$word" == *:* && "$COMP_WORDBREAKS" == *:* ]] && item="${item#"${word%:*}:"}"
            COMPREPLY+=("$item")
          done < <("${COMP_WORDS[0]}" "[suggest:${#line}]" "$line" 2>/dev/null)
          [[ ${#COMPREPLY[@]} -eq 1 && "${COMPREPLY[0]}" == *: ]] && compopt -o nospace
          return 0
        }
        complete -o default -F _panacea panacea

        """;

    private const string Zsh = """
        #compdef panacea
        # zsh completion for panacea; use: source <(panacea completion zsh)
        _panacea() {
          local -a items
          items=("${(@f)$("${words[1]}" "[suggest:${#LBUFFER}]" "$LBUFFER" 2>/dev/null)}")
          compadd -- ${items:#} || _files
        }
        if [ "$funcstack[1]" = "_panacea" ]; then _panacea; else compdef _panacea panacea; fi

        """;

    private const string Fish = """
        # fish completion for panacea; use: panacea completion fish | source
        function __panacea_complete
          set -l line (commandline -cp)
          panacea "[suggest:"(string length -- "$line")"]" "$line" 2>/dev/null
        end
        complete -c panacea -a '(__panacea_complete)'

        """;
}
