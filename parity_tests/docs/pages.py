"""The code blocks of a page, and how a test runs them."""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unet_data import membranes
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

SHOWN = ("text", "mermaid", "json", "toml", "yaml", "cpp", "console")
"""Languages of blocks that show something and are not meant to be run."""

SMALLER = {
    "--minutes 30": "--recipe none --steps 2 --widths 2 4 --batch 1 --tile 28",
    "--steps 200": "--steps 2 --batch 1",
    "unet bench bundle": "unet bench bundle --rounds 1 --runtimes onnx --size 92",
    "--memory 1GiB": "--memory 16GiB",  # what the process of the tests has already counts, too
}
"""What a test runs in place of what takes minutes, or less memory than it has."""

BLOCK = re.compile(r"(?:<!-- not run: (?P<reason>.+?) -->\n)?^```(?P<head>[^\n]*)\n(?P<code>.*?)^```$", re.M | re.S)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its title, its text, and why it is not run (None: it is)."""

    language: str
    title: str
    code: str
    reason: str | None


def blocks_of(page: Path) -> list[Block]:
    """Every block of a page, in order."""
    found = []
    for match in BLOCK.finditer(page.read_text(encoding="utf-8")):
        language, _, rest = match["head"].partition(" ")
        found.append(Block(language, rest, match["code"], match["reason"]))
    return found


def furnish(folder: Path) -> None:
    """Makes what the pages speak of: data/, image.png, runs/em/best and bundle/."""
    from unet_export import BundleSettings, write_bundle

    drawn = membranes(6, 64, seed=0)
    for name, stack in ("images", drawn.images), ("labels", drawn.labels):
        (folder / "data" / name).mkdir(parents=True)
        for k, array in enumerate(stack):
            Image.fromarray(np.squeeze(array).astype(np.uint8)).save(folder / "data" / name / f"{k}.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (150, 170), np.uint8)).save(folder / "image.png")
    config = preset("paper", widths=(2, 4, 6), norm="batch", dropout=0.0)
    data = DataSpec((0.5,), (0.2,), ("membrane", "cell"))
    checkpoint = Checkpoint(config, random_tensors(config.graph, 0), data)
    checkpoint.save(folder / "runs" / "em" / "best")
    write_bundle(checkpoint, folder / "bundle", BundleSettings(engines=False))


def run_commands(code: str) -> None:
    """Runs each line, a command `unet`, in this process. Raises AssertionError where its exit code is not 0."""
    for old, new in SMALLER.items():
        code = code.replace(old, new)
    for line in code.splitlines():
        program, *arguments = shlex.split(line, comments=True) or ("unet", "--help")
        assert program == "unet", f"{line!r} is no command of ours: mark the block as not run"
        assert main(arguments) == 0, line


def run_page(page: Path) -> int:
    """Runs the blocks of a page, one after the other, in the working folder. Returns their number."""
    space: dict[str, Any] = {"__name__": "page"}
    count = 0
    for block in blocks_of(page):
        if block.reason or block.title or block.language in SHOWN:
            continue
        if block.language == "python":
            exec(compile(block.code, page.name, "exec"), space)
        else:
            run_commands(block.code)
        count += 1
    return count
