"""``leadgrad completion``: what a shell's Tab key offers, written once as a script.

The shell asks nothing of Python while one types. Values are completed as paths.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from jsonargparse import ArgumentParser

from leadgrad.pipelines.commands.arguments import PARSERS, completion_parser
from leadgrad.pipelines.commands.table_usage import BOARD, TABLE_USAGES
from leadgrad.pipelines.commands.usage import FIGURE_USAGES, USAGES

BASH = """
_leadgrad() {
  local current="${COMP_WORDS[COMP_CWORD]}" offered=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    offered="{commands}"
  else
    case "${COMP_WORDS[1]} ${COMP_WORDS[2]}" in
{cases}
    esac
  fi
  COMPREPLY=($(compgen -W "$offered" -- "$current"))
}
complete -o bashdefault -o default -F _leadgrad leadgrad
"""
ZSH = "autoload -U +X compinit && compinit\nautoload -U +X bashcompinit && bashcompinit\n"


def offers() -> dict[str, list[str]]:
    """What may follow a command, or a command and its first word: words and options."""
    found = {name: _options(build()) for name, build in PARSERS.items()}
    for before, usages in (("", USAGES), ("table ", TABLE_USAGES), ("figure ", FIGURE_USAGES)):
        for name, usage in usages.items():
            found[before + name] = [f"--{option}" for option in usage.options]
    found["board"] = [f"--{option}" for option in BOARD.options]
    for name in [name for name in found if " " in name]:
        command, _, first = name.partition(" ")
        found.setdefault(command, []).append(first)
    found["completion"] += ["bash", "zsh", "fish"]
    return dict(sorted(found.items()))


def commands() -> list[str]:
    """All of them."""
    return [name for name in offers() if " " not in name]


def script(shell: str) -> str:
    """What the shell reads.

    Args:
        shell: "bash", "zsh" or "fish".
    """
    if shell == "fish":
        return "\n".join(_fish())
    # What has two words comes first, or the shorter pattern would take it
    cases = sorted(offers().items(), key=lambda item: -item[0].count(" "))
    lines = []
    for name, words in cases:
        pattern = f'"{name}"' if " " in name else f'"{name} "*'
        lines.append(f'      {pattern}) offered="{" ".join(words)}" ;;')
    body = BASH.replace("{commands}", " ".join(commands())).replace("{cases}", "\n".join(lines))
    return (ZSH if shell == "zsh" else "") + body.lstrip()


def main(args: Sequence[str]) -> int:
    """Prints the script; returns the exit status."""
    print(script(completion_parser().parse_args(list(args)).shell))
    return 0


def _options(parser: ArgumentParser, first: bool = True) -> list[str]:
    """Long options of a parser; of one with subcommands, their names and options."""
    found = []
    for action in parser._actions:
        found += [name for name in action.option_strings if name.startswith("--")]
        below = action.choices
        if first and isinstance(below, Mapping):  # subcommands
            for name, own in below.items():
                found += [name, *_options(own, first=False)]
    return list(dict.fromkeys(found))


def _fish() -> list[str]:
    """Lines of ``complete``, one for each word and option."""
    at_start = "__fish_use_subcommand"
    lines = [f"complete -c leadgrad -n {at_start} -f -a {name}" for name in commands()]
    for name, words in offers().items():
        seen = " and ".join(f"__fish_seen_subcommand_from {word}" for word in name.split())
        for word in words:
            given = f"-l {word.removeprefix('--')}" if word.startswith("--") else f"-a {word}"
            lines.append(f"complete -c leadgrad -n '{seen.replace(' and ', '; and ')}' {given}")
    return lines
