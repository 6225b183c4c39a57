"""Completion scripts for bash, zsh and fish, from a description of the commands."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple


class Option(NamedTuple):
    """An option: its names, long ones first, and what its value completes to.

    The value of an `attached` one stands behind an equals sign or is left out.
    """

    names: tuple[str, ...]
    help: str
    takes_value: bool = False
    values: Sequence[str] = ()
    takes_files: bool = False
    attached: bool = False
    repeated: bool = False


class Command(NamedTuple):
    """A command: its options, and what its arguments complete to."""

    name: str
    help: str
    options: Sequence[Option]
    values: Sequence[str]
    takes_files: bool


_ROOT = (Option(("--version",), "Show the version."), Option(("--help", "-h"), "Show this message and exit."))

_BASH = r"""# Completion of avreview in bash: eval "$(avreview completion bash)"
_avreview() {
  local word=${COMP_WORDS[COMP_CWORD]} before="" command="" values="" options="" files="" head="" value index
  ((COMP_CWORD > 0)) && before=${COMP_WORDS[COMP_CWORD - 1]}
  for ((index = 1; index < COMP_CWORD; index++)); do
    if [[ ${COMP_WORDS[index]} != -* ]]; then
      command=${COMP_WORDS[index]}
      break
    fi
  done
  # bash parts --option=value at the equals sign.
  if [[ $word == = ]]; then
    word="" before+="="
  elif [[ $before == = ]] && ((COMP_CWORD > 1)); then
    before=${COMP_WORDS[COMP_CWORD - 2]}=
  fi
  case "$command:$before" in
@options@
    *)
      case $command in
@commands@
      esac
      if [[ $word == -* ]]; then
        values=$options files=""
      fi
      ;;
  esac
  if [[ $word == *,* && -z $files ]]; then
    head=${word%,*}, word=${word##*,}
  fi
  COMPREPLY=()
  while IFS= read -r value; do
    COMPREPLY+=("$value")
  done < <(compgen -W "$values" -P "$head" -- "$word")
  if [[ -n $files ]]; then
    compopt -o filenames 2>/dev/null
    while IFS= read -r value; do
      COMPREPLY+=("$value")
    done < <(compgen -f -- "$word")
  fi
}
complete -F _avreview avreview
"""

_ZSH = r"""#compdef avreview
# Completion of avreview in zsh, behind compinit: eval "$(avreview completion zsh)"
_avreview() {
  local curcontext=$curcontext state line
  typeset -A opt_args
  local -a commands
  commands=(
@commands@
  )
  _arguments -C \
@root@
    '1: :->command' \
    '*:: :->rest'
  case $state in
    command) _describe -t commands 'command' commands ;;
    rest)
      case $words[1] in
@cases@
      esac
      ;;
  esac
}
if [[ $zsh_eval_context[-1] == loadautofunc ]]; then
  _avreview "$@"
else
  compdef _avreview avreview
fi
"""


def _filled(template: str, parts: Mapping[str, Iterable[str]]) -> str:
    """The template with lines in the place of its `@part@`s."""
    for name, lines in parts.items():
        template = template.replace(f"@{name}@", "\n".join(lines))
    return template


def _bash(commands: Sequence[Command]) -> str:
    names = " ".join(command.name for command in commands)
    bodies = [f'        "") options="{_names(_ROOT)}" values="{names}" ;;']
    for command in commands:
        files = " files=yes" if command.takes_files else ""
        known = f'options="{_names(command.options)}" values="{" ".join(command.values)}"{files}'
        bodies.append(f"        {command.name}) {known} ;;")
    cases = [case for command in commands for case in _bash_cases(command)]
    return _filled(_BASH, {"options": cases, "commands": bodies})


def _bash_cases(command: Command) -> Iterator[str]:
    """A case for every option that takes a value: its values, files, or nothing that could be listed."""
    for option in command.options:
        if option.takes_value:
            keys = [f"{command.name}:{name}=" for name in option.names if name.startswith("--")]
            if not option.attached:
                keys += [f"{command.name}:{name}" for name in option.names]
            files = " files=yes" if option.takes_files else ""
            yield f'    {"|".join(keys)}) values="{" ".join(option.values)}"{files} ;;'


def _names(options: Iterable[Option]) -> str:
    return " ".join(name for option in options for name in option.names)


def _zsh(commands: Sequence[Command]) -> str:
    described = [f"    {_quoted(_colons(command.name) + ':' + _colons(command.help))}" for command in commands]
    cases = [line for command in commands for line in _zsh_case(command)]
    root = [f"    {_zsh_option(option)} \\" for option in _ROOT]
    return _filled(_ZSH, {"commands": described, "root": root, "cases": cases})


def _zsh_case(command: Command) -> Iterator[str]:
    yield f"        {command.name})"
    yield "          _arguments \\"
    for option in command.options:
        yield f"            {_zsh_option(option)} \\"
    action = "_files" if command.takes_files else f"({' '.join(command.values)})"
    yield f"            {_quoted('*: :' + action)}"
    yield "          ;;"


def _zsh_option(option: Option) -> str:
    """`'(-f --format)'{-f+,--format=}'[help]: :(terminal yaml)'`."""
    short = "+" if option.takes_value else ""
    long = "=-" if option.attached else "=" if option.takes_value else ""
    names = [name + (long if name.startswith("--") else short) for name in option.names]
    several = f"{{{','.join(names)}}}" if len(names) > 1 else names[0]
    apart = "'*'" if option.repeated else _quoted(f"({' '.join(option.names)})") if len(names) > 1 else ""
    action = ""
    if option.takes_value:
        values = " ".join(option.values)
        several_values = option.repeated and option.values
        action = (
            "_files" if option.takes_files else f"_sequence compadd - {values}" if several_values else f"({values})"
        )
        action = f"{':' if option.attached else ''}: :{action if option.takes_files or values else ''}"
    return f"{apart}{several}{_quoted(f'[{_brackets(option.help)}]{action}')}"


def _colons(text: str) -> str:
    return text.replace("\\", "\\\\").replace(":", "\\:")


def _brackets(text: str) -> str:
    return _colons(text).replace("[", "\\[").replace("]", "\\]")


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _fish(commands: Sequence[Command]) -> str:
    lines = [
        "# Completion of avreview in fish: avreview completion fish > ~/.config/fish/completions/avreview.fish",
        "complete -c avreview -f",
    ]
    lines += [_fish_option("__fish_use_subcommand", option) for option in _ROOT]
    for command in commands:
        lines.append(f"complete -c avreview -n __fish_use_subcommand -a {command.name} -d {_fish_word(command.help)}")
        seen = f"'__fish_seen_subcommand_from {command.name}'"
        lines += [_fish_option(seen, option) for option in command.options]
        if command.takes_files:
            lines.append(f"complete -c avreview -n {seen} -F")
        if command.values:
            lines.append(f"complete -c avreview -n {seen} -a {_fish_word(' '.join(command.values))}")
    return "\n".join(lines) + "\n"


def _fish_option(condition: str, option: Option) -> str:
    parts = [f"complete -c avreview -n {condition}"]
    parts += [f"-l {name[2:]}" if name.startswith("--") else f"-s {name[1:]}" for name in option.names]
    if option.takes_value and not option.attached:
        parts.append("-r -F" if option.takes_files else "-x")
    if option.values:
        parts.append(f"-a {_fish_word(' '.join(option.values))}")
    return " ".join([*parts, f"-d {_fish_word(option.help)}"])


def _fish_word(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"


SCRIPTS: Mapping[str, Callable[[Sequence[Command]], str]] = {"bash": _bash, "zsh": _zsh, "fish": _fish}
