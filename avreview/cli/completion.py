"""`avreview completion`: a script that has a shell complete commands, options and rules.

The script is whole: it holds the words, and no run of avreview is needed to complete one. Typer's own way looks at
the environment and imports more on every start.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from avreview.cli.output import destination

if TYPE_CHECKING:
    from avreview.cli.shells import Command, Option


class Shell(str, enum.Enum):
    """The shells that there are scripts for."""

    BASH = "bash"
    ZSH = "zsh"
    FISH = "fish"


def completion(shell: Annotated[Shell, typer.Argument(help="The shell to complete in.")]) -> None:
    """Print a script that completes commands, options and rules.

    bash: eval "$(avreview completion bash)" in ~/.bashrc.

    zsh: eval "$(avreview completion zsh)" in ~/.zshrc, behind compinit.

    fish: avreview completion fish > ~/.config/fish/completions/avreview.fish
    """
    from avreview.cli.main import app
    from avreview.cli.shells import SCRIPTS

    tree: Any = typer.main.get_command(app)
    words = _words()
    commands = [_command(name, command, words) for name, command in sorted(tree.commands.items())]
    with destination() as stream:
        stream.write(SCRIPTS[shell.value](commands))


def _words() -> Mapping[str, Sequence[str]]:
    """The words that an option or an argument takes, where its type does not list them."""
    from avreview.engine.cards import shipped
    from avreview.probes.request import ALL, PROBES

    rules = shipped()
    selectors = [*rules.cards, *(card.name for card in rules), *(f"item{item}" for item in rules.questions)]
    return {
        "--select": selectors,
        "--ignore": selectors,
        "rules": selectors,
        "--probe": [ALL, *PROBES],
        "--profile": ["default", "strict", "audit"],
    }


def _command(name: str, command: Any, words: Mapping[str, Sequence[str]]) -> Command:
    from avreview.cli.shells import Command, Option

    parts = command.params
    operands = [part for part in parts if part.param_type_name == "argument"]
    options = [_option(part, words) for part in parts if part.param_type_name == "option"]
    options.append(Option(("--help", "-h"), "Show this message and exit."))
    values = [value for part in operands for value in _values(part, words)]
    return Command(name, _first_line(command.help), options, values, any(map(_is_path, operands)))


def _option(part: Any, words: Mapping[str, Sequence[str]]) -> Option:
    from avreview.cli.shells import Option

    return Option(
        names=(*part.opts, *part.secondary_opts),
        help=_first_line(part.help),
        takes_value=not part.is_flag,
        values=_values(part, words),
        takes_files=_is_path(part) or part.opts == ["--reference"],
        attached=part.opts == ["--probe"],
        repeated=bool(part.multiple),
    )


def _values(part: Any, words: Mapping[str, Sequence[str]]) -> Sequence[str]:
    choices = getattr(part.type, "choices", None)
    if choices:
        return [str(getattr(choice, "value", choice)) for choice in choices]
    return words.get(part.opts[0], ())


def _is_path(part: Any) -> bool:
    return getattr(part.type, "name", "") in ("path", "file", "directory")


def _first_line(text: str | None) -> str:
    return (text or "").strip().partition("\n")[0]
