"""A command as a SLURM job array: scripts that run the same command with --shard, and one that joins the shards."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, get_type_hints

from unet_data.io.stores.signed import secret_of
from unet_spec import InputError
from unet_spec.files import first_line, writing

from ..arguments.sizes import Size, text_of

_TASK = '"$SLURM_ARRAY_TASK_ID"'


def command_line(args: Any, name: str, left_out: tuple[str, ...] = ()) -> list[str]:
    """The words of a command line, from a dataclass of its flags; flags with their default values are left out.

    Args:
        args: arguments of the command; positional fields have no default.
        name: name of the command.
        left_out: fields to leave out.

    Example:
        >>> from dataclasses import dataclass
        >>> @dataclass
        ... class Args:
        ...     checkpoint: str
        ...     out: str
        ...     mirror: bool = True
        ...     tile: int | None = None
        >>> command_line(Args("best", "o.tif", mirror=False, tile=64), "predict")
        ['unet', 'predict', 'best', '--out', 'o.tif', '--no-mirror', '--tile', '64']
    """
    words = ["unet", name]
    positional = {"checkpoint", "images", "data"}
    for each in fields(args):
        value = getattr(args, each.name)
        if each.name in positional:
            words += [str(v) for v in value] if isinstance(value, tuple) else [str(value)]
    return words + list(_flags(args, positional | set(left_out)))


def _flags(args: Any, left_out: set[str]) -> Iterator[str]:
    types = get_type_hints(type(args))
    for each in fields(args):
        value = getattr(args, each.name)
        flag = each.name.replace("_", "-")
        if each.name in left_out or value == each.default or value is None:
            continue
        if is_dataclass(value):
            yield from _flags(value, set())
        elif isinstance(value, bool):
            yield f"--{flag}" if value else f"--no-{flag}"
        else:
            yield f"--{flag}"
            several = isinstance(value, tuple) and types[each.name] != Size
            yield from map(str, value) if several else [text_of(value)]


def parse_shard(text: str) -> tuple[int, int]:
    """Part and number of parts. Raises InputError.

    Example:
        >>> parse_shard("2/8")
        (2, 8)
    """
    found = re.fullmatch(r"(\d+)/(\d+)", text)
    if not found or not 1 <= int(found[1]) <= int(found[2]):
        raise InputError(f"--shard {text} is not a part; give i/n with i from 1 to n")
    return int(found[1]), int(found[2])


def write_jobs(path: Path, command: list[str], parts: int, joined: bool) -> list[str]:
    """Writes an sbatch script for a job array, and a second one if shards must be joined.

    Args:
        path: path of the script, such as job.sh; the second one is job-join.sh.
        command: the command without --shard.
        parts: number of jobs in the array, at least 1.
        joined: whether the command without --shard must run afterwards.

    Returns:
        The commands to submit the scripts, and the result of sbatch's test, if it is installed.

    Raises:
        InputError: `parts` is below 1, the command has a signed address, or sbatch refuses a script.
        OutputError: a script cannot be written.
    """
    if parts < 1:
        raise InputError(f"--jobs is {parts}; give 1 or more")
    for word in command:
        if secret := secret_of(Path(word)):
            what = "query" if secret.query else "password"
            raise InputError(
                f"--slurm: the script would contain the {what} of {word}, which is a secret; give an address that "
                "needs none, such as s3:// with credentials in the environment, or a file"
            )
    words = shlex.join(command)
    own = f"{words} --shard {_TASK}/{parts}"
    _write(path, [f"--array=1-{parts}", "--requeue"], own)
    lines = [f"sbatch {shlex.quote(str(path))}"]
    scripts = [path]
    if joined:
        join = path.with_name(f"{path.stem}-join{path.suffix}")
        _write(join, [], words)
        scripts.append(join)
        first = f"sbatch --parsable {shlex.quote(str(path))}"
        lines = [f"sbatch --dependency=afterok:$({first}) {shlex.quote(str(join))}"]
    if shutil.which("sbatch"):
        lines += [_checked(script) for script in scripts]
    return lines


def _write(path: Path, options: list[str], command: str) -> None:
    chosen = ["--job-name=unet", *options, f"--chdir={shlex.quote(str(Path.cwd()))}"]
    lines = ["#!/bin/bash", *(f"#SBATCH {option}" for option in chosen), "set -euo pipefail", f"exec {command}"]
    with writing(path) as temporary:
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.chmod(0o755)


def _checked(script: Path) -> str:
    done = subprocess.run(["sbatch", "--test-only", str(script)], capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"{script}: sbatch --test-only refuses it: {first_line(ValueError(done.stderr))}")
    return f"{script}: {first_line(ValueError(done.stderr or done.stdout))}"
