"""Every example in a docstring of a package runs and prints what it shows."""

from __future__ import annotations

import doctest
import importlib
import sys
from pathlib import Path

import pytest

from .. import ROOT

FOLDERS = (ROOT, ROOT / "export", ROOT / "tools")
PACKAGES = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "unet_export", "unet_tools")
SLOW = (
    "unet_jax.interop.orbax", "unet_jax.interop.linen", "unet_jax.training.step", "unet_jax.training.loop",
    "unet_jax.training.augmentation.augment", "unet_jax.training.devices.step_cost", "unet_jax.training.planning.speed",
)  # fmt: skip
"""Examples that take seconds."""
FLAGS = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


def modules() -> list[str]:
    """The modules of all packages that show an example, by name."""
    found = []
    for folder in FOLDERS:
        for path in sorted(p for package in PACKAGES for p in (folder / package).rglob("*.py")):
            if ">>>" in path.read_text(encoding="utf-8"):
                parts = path.relative_to(folder).with_suffix("").parts
                found.append(".".join(parts[:-1] if parts[-1] == "__init__" else parts))
    return found


@pytest.fixture
def float32_by_default():
    """JAX as a user has it. The other tests allow it to compute in float64."""
    jax = sys.modules.get("jax")
    if jax is None:
        yield
        return
    before = jax.config.jax_enable_x64
    jax.config.update("jax_enable_x64", False)
    yield
    jax.config.update("jax_enable_x64", before)


@pytest.mark.usefixtures("float32_by_default")
@pytest.mark.parametrize("name", [pytest.param(n, marks=[pytest.mark.slow] * (n in SLOW)) for n in modules()])
def test_examples_run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as e:
        if (e.name or "").split(".")[0] in PACKAGES:
            raise
        pytest.skip(f"{e.name} is not installed")
    monkeypatch.chdir(tmp_path)  # examples may write files
    failed, attempted = doctest.testmod(module, optionflags=FLAGS)
    assert attempted, "the examples are not in docstrings"
    assert not failed, "see the captured output"
