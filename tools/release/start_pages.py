"""Does what the three start pages say, from top to bottom, each in a fresh environment with its user's extra only.

    python -m tools.release.start_pages DATA -o FOLDER [--wheel dist/unet_twins-0.1.0-py3-none-any.whl] [--minutes 5]

Each block of a page runs as a reader would run it, in order, and its time is printed. Python blocks of a page share
their variables. The only changes: the wheel is installed instead of the published package, `--minutes` of a training is
that of this program, and the checkpoint `runs/em/best` that the PyTorch and deployment pages start from is the one that
the first page has trained. What each block printed is in FOLDER, to be read.
"""

from __future__ import annotations

import re
import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from unet_spec import InputError
from unet_tools.console import notes, print_table

from .environments import run_in

ROOT = Path(__file__).parents[2]
PAGES: tuple[Literal["train", "pytorch", "deploy"], ...] = ("train", "pytorch", "deploy")
_BLOCK = re.compile(r"^```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INSTALL = re.compile(r"^pip install 'unet-twins(\[[\w,-]+\])'")


@dataclass(frozen=True)
class Args:
    data: Annotated[Path, tyro.conf.Positional]
    """Labelled images, as the first page describes them: a folder with images/ and labels/."""
    out: Annotated[Path, tyro.conf.arg(aliases=["-o"])]
    """Folder for the environments and for what was printed; must not exist."""
    wheel: Path = ROOT
    """The wheel to install; default: the sources of this checkout."""
    minutes: float = 5
    """Minutes of the training."""
    pages: tuple[Literal["train", "pytorch", "deploy"], ...] = PAGES
    """Pages to follow; pytorch and deploy need train before them."""


@dataclass(frozen=True)
class Step:
    """A block of a page: "sh", "python" or "install", and its text; of "install", the extras."""

    kind: str
    text: str


def steps_of(page: str) -> Iterator[Step]:
    """The blocks of a page's text, in order.

    Example:
        >>> list(steps_of("# A\\n```sh\\npip install 'unet-twins[jax]'  # or more\\n```\\n```text\\nb\\n```\\n"))
        [Step(kind='install', text='[jax]')]
    """
    for kind, text in _BLOCK.findall(page):
        install = _INSTALL.match(text)
        yield Step("install", install[1]) if install else Step(kind, text)


def follow(page: str, args: Args, home: Path) -> Iterator[tuple[str, float]]:
    """Does what a page says; yields each step's first line and its seconds. Raises InputError: a step failed."""
    environment, work = home / "environment", home / "work"
    session: list[str] = []
    for number, step in enumerate(steps_of((ROOT / "docs" / "start" / f"{page}.md").read_text(encoding="utf-8"))):
        began = time.monotonic()
        if step.kind == "install":
            run_in(home, [sys.executable, "-m", "venv", str(environment)], "venv")
            pip = ["pip", "install", "-q", "--disable-pip-version-check", "-c", str(ROOT / "constraints.txt")]
            lines, what = [*pip, f"{args.wheel}{step.text}"], f"pip install 'unet-twins{step.text}'"
            said = run_in(work, _inside(environment, lines), what)
        elif step.kind == "python":
            session.append(step.text)
            what = next(line for line in step.text.splitlines() if line and not line.startswith(("import", "from")))
            said = run_in(work, _inside(environment, ["python", "-c", "\n".join(session)]), f"{page}.md: {what}")
        else:
            text = re.sub(r"--minutes \d+", f"--minutes {args.minutes:g}", step.text)
            what = text.splitlines()[0]
            said = run_in(work, _inside(environment, ["bash", "-ec", text]), f"{page}.md: {what}")
        (home / f"{number}.txt").write_text(f"{step.text}\n{said}", encoding="utf-8")
        yield what, time.monotonic() - began


def _inside(environment: Path, command: Sequence[str]) -> list[str]:
    """The command with the environment's programs first on the path."""
    return ["bash", "-c", f'PATH="{environment}/bin:$PATH"; exec "$@"', "-", *command]


def main(args: Args) -> int:
    """Exit codes: 0 done, 2 a step of a page failed."""
    images = sorted((args.data / "images").glob("*.png"))
    if not images:
        raise InputError(f"{args.data}/images holds no .png files")
    if args.out.exists():
        raise InputError(f"{args.out} exists; give a new folder")
    if args.pages[:1] != ("train",):
        raise InputError("the pages pytorch and deploy need the checkpoint of the page train; give train first")
    trained = args.out / "train" / "work" / "runs" / "mine" / "best"
    for page in args.pages:
        work = args.out / page / "work"
        work.mkdir(parents=True)
        shutil.copy(images[0], work / "image.png")
        (work / "data").symlink_to(args.data.absolute())
        if page != "train":
            shutil.copytree(trained, work / "runs" / "em" / "best")
        rows = []
        for what, seconds in follow(page, args, args.out / page):
            notes.print(f"{page}: {what}  ({seconds:.0f} s)", soft_wrap=True, markup=False)
            rows.append((what, f"{seconds:.0f}"))
        total = sum(float(seconds) for _, seconds in rows)
        print_table(f"docs/start/{page}.md, {total:.0f} s in all", ("step", "seconds"), rows)
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main(tyro.cli(Args, prog="python -m tools.release.start_pages", description=__doc__)))
    except InputError as e:
        print(f"start_pages: {e}", file=sys.stderr)
        sys.exit(2)
