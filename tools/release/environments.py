"""Fresh environments: the wheel with each extra, and commands of the README in it."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from unet_spec import InputError

INFO = "unet info --preset paper --input 572"
TRAIN = "unet train synthetic --out runs/em --recipe none --steps 2 --widths 2 4 --tile 28 --validate-every 2"
USE = ("unet export runs/em/best -o bundle", "unet check bundle", "unet predict runs/em/best stack.tif -o labels.tif")
SAVED = """python -c "
from unet_torch import UNet, preset
UNet(preset('paper', widths=(2, 4)), seed=0).save_pretrained('runs/em/best')
" """.strip()
WRITTEN = """python -c "
from unet_spec import Checkpoint, DataSpec, initial_tensors, preset
config = preset('paper', widths=(2, 4))
Checkpoint(config, initial_tensors(config.graph, 0), DataSpec((0.5,), (0.2,))).save('runs/em/best')
" """.strip()


@dataclass(frozen=True)
class Extra:
    """What is tried with an extra.

    Attributes:
        commands: lines of the README, made smaller; the program at the beginning is the environment's.
        absent: packages that it must not bring along.
    """

    commands: Sequence[str]
    absent: Sequence[str] = ()


COMMANDS: dict[str, Extra] = {
    "": Extra(("unet --version", INFO), ("jax", "torch", "onnx", "matplotlib")),
    "jax": Extra((INFO, TRAIN, "unet evaluate runs/em/best synthetic"), ("torch", "onnx")),
    "torch": Extra((SAVED, "unet predict runs/em/best stack.tif -o labels.tif"), ("jax", "onnx")),
    "onnx": Extra((WRITTEN, *USE), ("jax", "torch")),
    "jax,onnx,report": Extra((TRAIN, *USE), ("torch",)),
    "jax,torch,onnx": Extra(
        (TRAIN, "unet check runs/em/best", "unet diff runs/em/best", "unet convert runs/em/best w.pth")
    ),
}
"""By extras, as pip takes them. Each environment begins with stack.tif, a small image. Of other extras, `OTHERS`."""

OTHERS = Extra(("unet --version", INFO))

UNTRIED = {
    "all": ".ci/run installs it from the sources",
    "tensorrt": "its libraries come from NVIDIA's own index, and need a GPU",
    "tensorrt-rtx": "gigabytes; .ci/run builds engines with it",
    "tpu": "gigabytes; .ci/run compiles for a TPU with it",
    "napari": "needs a display",
    **dict.fromkeys(("docs", "fuzz", "release", "test"), "for who works on the project"),
}
"""Extras that no environment is made for, and why."""


def extras_of(root: Path) -> tuple[str, ...]:
    """What is tried: the combinations of `COMMANDS`, and every other extra of pyproject.toml that is not `UNTRIED`."""
    project = tomllib.loads((root / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    others = [extra for extra in project.get("optional-dependencies", ()) if extra not in {*COMMANDS, *UNTRIED}]
    return (*COMMANDS, *others)


PREPARE = """
import numpy as np, tifffile
tifffile.imwrite("stack.tif", np.random.default_rng(0).integers(0, 256, (70, 90), np.uint8))
"""
LIST = """
import importlib.metadata as m, json, re
found = []
for d in m.distributions():
    meta = d.metadata
    classes = [c.rpartition(" :: ")[2] for c in meta.get_all("Classifier") or () if c.startswith("License ::")]
    plain = (meta.get("License") or "").strip().partition("\\n")[0]
    licence = meta.get("License-Expression") or ", ".join(classes) or plain
    needs = [re.match(r"[\\w.-]+", r)[0] for r in d.requires or ()]
    found.append({"name": meta["Name"], "version": d.version, "licence": licence[:200], "needs": needs})
print(json.dumps(found))
"""


@dataclass(frozen=True)
class Installed:
    """A distribution of an environment: its name, version, licence in the words of its metadata, and what it names as
    required, whether installed or not."""

    name: str
    version: str
    licence: str
    needs: tuple[str, ...] = field(default=())


def try_extra(extra: str, wheel: Path, folder: Path, constraints: Path, say: Callable[[str], None]) -> list[Installed]:
    """Installs the wheel with an extra in a fresh environment, and runs its commands.

    Args:
        extra: as pip takes it, such as "jax,onnx"; "" is none.
        wheel: to be installed.
        folder: for the environment; must not exist.
        constraints: versions, as pip's `-c` takes them.
        say: receives a line for each command that passed.

    Returns:
        What the environment holds, without pip.

    Raises:
        InputError: something cannot be installed, a command fails, or a package that must be absent is there.
    """
    tried = COMMANDS.get(extra, OTHERS)
    run_in(folder.parent, [sys.executable, "-m", "venv", str(folder)], f"venv for [{extra}]")
    python = str(folder / "bin" / "python")
    target = f"{wheel}[{extra}]" if extra else str(wheel)
    pip = [python, "-m", "pip", "install", "-q", "--disable-pip-version-check", "-c", str(constraints), target]
    run_in(folder, pip, f"pip install {wheel.name}[{extra}]")
    work = folder / "work"
    work.mkdir()
    run_in(work, [python, "-c", PREPARE], "an image")
    for command in tried.commands:
        run_in(work, ["bash", "-c", f"{folder}/bin/{command}"], command)
        say(f"[{extra}] {shown(command)}")
    found = [Installed(d["name"], d["version"], d["licence"], tuple(d["needs"])) for d in _listed(python, work)]
    names = {d.name.lower() for d in found}
    if unwanted := sorted(names & set(tried.absent)):
        raise InputError(f"unet-twins[{extra}] installs {', '.join(unwanted)}, which it should not need")
    return sorted((d for d in found if d.name not in ("pip", "setuptools")), key=lambda d: d.name.lower())


def shown(command: str) -> str:
    """A command as one line.

    Example:
        >>> shown("python -c '\\nimport x\\n'")
        "python -c ' import x '"
    """
    return " ".join(command.split())


def _listed(python: str, folder: Path) -> list[dict[str, Any]]:
    return json.loads(run_in(folder, [python, "-c", LIST], "the list of packages"))


def run_in(folder: Path, command: Sequence[str], what: str) -> str:
    """Runs a command without the variables of this process's own environment; returns what it printed.

    Raises:
        InputError: it failed; with its last line.
    """
    hidden = ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")
    environment = {k: v for k, v in os.environ.items() if k not in hidden} | {"CUDA_VISIBLE_DEVICES": ""}
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    if done.returncode:
        lines = (done.stderr or done.stdout).strip().splitlines() or ["it printed nothing"]
        raise InputError(f"{what}: exit code {done.returncode}: {lines[-1]}")
    return done.stdout
