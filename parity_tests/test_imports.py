"""Imports between packages point one way, and a framework is imported only when it is used."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

from . import ROOT

ROOMS = {"unet_spec": "unet_spec", "unet_data": "unet_data", "unet_jax": "unet_jax", "unet_torch": "unet_torch",
         "unet_export": "export/unet_export", "unet_tools": "tools/unet_tools"}  # fmt: skip
ALLOWED = {
    "unet_spec": set(),
    "unet_data": {"unet_spec"},
    "unet_jax": {"unet_spec", "unet_data"},
    "unet_torch": {"unet_spec", "unet_data"},
    "unet_export": {"unet_spec", "unet_data"},
    "unet_tools": set(ROOMS),
}
FOREIGN = {
    "unet_spec": {"jax", "flax", "optax", "torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx", "scipy"},
    "unet_data": {"jax", "flax", "optax", "torch", "onnx", "onnxruntime", "tensorrt", "tensorrt_rtx"},
    "unet_jax": {"torch"},
    "unet_torch": {"jax", "flax", "optax"},
    "unet_export": {"jax", "flax", "optax"},
    "unet_tools": set(),
}


def imported(path: Path) -> set[str]:
    """The top-level packages that a file imports, including imports inside functions."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found.add(node.module.split(".")[0])
    return found


@pytest.mark.parametrize("room", ROOMS)
def test_a_room_imports_only_what_lies_before_it(room):
    files = list((ROOT / ROOMS[room]).rglob("*.py"))
    assert files
    for path in files:
        names = imported(path)
        assert not (names & set(ROOMS)) - ALLOWED[room] - {room}, path
        assert not names & FOREIGN[room], path


@pytest.mark.parametrize(
    ("module", "absent"),
    [
        ("unet_spec", ["jax", "flax", "torch", "onnx", "onnxruntime", "scipy", "PIL", "tifffile"]),
        ("unet_data", ["jax", "flax", "torch", "onnx", "onnxruntime", "scipy", "PIL", "tifffile"]),
        ("unet_export", ["jax", "flax", "torch", "onnx", "onnxruntime", "tensorrt_rtx", "tensorrt"]),
        ("unet_jax", ["torch", "onnx"]),
        ("unet_torch", ["jax", "flax", "onnx"]),
        ("unet_tools.cli", ["jax", "flax", "torch", "onnx", "numpy", "tyro", "rich"]),
        ("unet_tools.commands.info", ["jax", "flax", "torch", "onnx", "onnxruntime"]),
    ],
)
def test_an_import_pulls_in_no_framework_of_others(module, absent):
    code = f"import sys, {module}; print([m for m in {absent} if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    assert result.stdout.strip() == "[]"


def test_every_file_of_a_package_is_in_the_wheel():
    """A file that setuptools does not include works in a clone but is missing from an installation."""
    from setuptools import Distribution
    from setuptools.config.pyprojecttoml import apply_configuration

    distribution = Distribution()
    apply_configuration(distribution, str(ROOT / "pyproject.toml"))
    distribution.set_defaults()
    packages = distribution.packages or []
    suffixes = {pattern[1:] for pattern in distribution.package_data[""]}
    for name, folder in ROOMS.items():
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.name != "README.md" and "__pycache__" not in path.parts:
                assert ".".join((name, *path.parent.relative_to(ROOT / folder).parts)) in packages, path
                assert path.suffix == ".py" or path.suffix in suffixes or path.name == "py.typed", path


def test_imports_are_relative_inside_a_package():
    """Imports are relative inside a package and absolute between packages."""
    for name, folder in ROOMS.items():
        for path in (ROOT / folder).rglob("*.py"):
            assert name not in imported(path), path


FLOORS = (
    {"memory", "windows"},
    {"io"},
    {"labels", "folders", "spacing"},
    {"datasets"},
    {"normalize", "objects", "fingerprint", "resampling"},
    {"inference"},
    {"metrics", "nnunet"},
)
"""The layers of unet_data; each part imports only from earlier layers and from itself."""


def test_imports_inside_unet_data_point_one_way():
    room, below = ROOT / "unet_data", set()
    for floor in FLOORS:
        for part in floor:
            files = [room / f"{part}.py"] if (room / f"{part}.py").is_file() else list((room / part).rglob("*.py"))
            assert files
            for path in files:
                depth = len(path.relative_to(room).parts)
                for node in ast.walk(ast.parse(path.read_text())):
                    if isinstance(node, ast.ImportFrom) and node.level == depth:
                        assert (node.module or "").split(".")[0] in below | {part}, f"{path}: {node.module}"
        below |= floor
