"""Print a script with which the shell completes commands, options and their values.

For bash:
  unet completion bash > ~/.local/share/bash-completion/completions/unet
For zsh, in a folder of $fpath:
  unet completion zsh > ~/.zfunc/_unet

After an update of this package, repeat the command to complete new options.

Example: unet completion bash
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib import import_module
from typing import Literal

import tyro

from unet_spec.door import EXTRAS

from ..arguments.help import Flag, groups_of, parser_of
from ..cli import COMMANDS
from ..console import notes

BASH = """_unet() {{
  local word="${{COMP_WORDS[COMP_CWORD]}}" before="${{COMP_WORDS[COMP_CWORD-1]}}" options="" values=""
  if [ "$COMP_CWORD" -eq 1 ]; then
    COMPREPLY=($(compgen -W "{commands}" -- "$word"))
    return
  fi
  case "${{COMP_WORDS[1]}}" in
{cases}
  esac
  case "${{COMP_WORDS[1]}} $before" in
{values}
  esac
  if [ -n "$values" ]; then
    COMPREPLY=($(compgen -W "$values" -- "$word"))
  elif [[ "$word" == -* ]]; then
    COMPREPLY=($(compgen -W "$options" -- "$word"))
  else
    COMPREPLY=($(compgen -f -- "$word"))
  fi
}}
complete -o filenames -F _unet unet
"""

ZSH = """#compdef unet
autoload -U +X bashcompinit && bashcompinit
"""


@dataclass(frozen=True)
class Args:
    shell: tyro.conf.Positional[Literal["bash", "zsh"]]
    """Shell to print the script for."""


def run(args: Args) -> int:
    print((ZSH if args.shell == "zsh" else "") + script(), end="")
    return 0


def script() -> str:
    """The bash script. It completes the options of commands whose packages are installed, and file names for the
    others."""
    cases, values = [], []
    for name in COMMANDS:
        try:
            flags = _flags(name)
        except ModuleNotFoundError as e:
            package = (e.name or "").partition(".")[0]
            if package not in EXTRAS:
                raise
            notes.print(f"unet {name}: its options are left out, since {package} is not installed")
            continue
        names = sorted({each for flag in flags for each in _names(flag)} | {"--help", "--help-all"})
        cases.append(f'    {name}) options="{" ".join(names)}" ;;')
        for flag in flags:
            choices = re.search(r" ((?:[\w.+-]+\|)+[\w.+-]+)", flag.usage)
            if choices:
                patterns = "|".join(f'"{name} {each}"' for each in _names(flag))
                values.append(f'    {patterns}) values="{choices[1].replace("|", " ")}" ;;')
    return BASH.format(commands=" ".join(COMMANDS), cases="\n".join(cases), values="\n".join(values))


def _flags(name: str) -> list[Flag]:
    command = import_module(f"unet_tools.commands.{name}")
    default = command.defaults([]) if hasattr(command, "defaults") else None
    return [flag for group in groups_of(parser_of(command.Args, default)).values() for flag in group if flag.name]


def _names(flag: Flag) -> list[str]:
    """The names as typed; for a switch that is on by default, also the form that turns it off."""
    if "[no-]" in flag.usage:
        return [flag.name, flag.name.replace("--", "--no-", 1)]
    return re.findall(r"(?:^|, )(--?[\w-]+)", flag.usage)
