"""The rooms: imports point one way, and nobody pays for a framework that he does not use."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
ROOMS = {"unet_spec": "unet_spec", "unet_data": "unet_data", "unet_jax": "unet_jax", "unet_torch": "unet_torch",
         "unet_export": "export", "unet_tools": "tools"}  # fmt: skip
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
    """The top packages that a file imports anywhere, inside of functions too."""
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


def test_every_package_is_in_the_wheel():
    """A folder that setuptools is not told of works in a clone and is missing from an installation."""
    import tomllib

    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = set()
    for name, folder in ROOMS.items():
        for init in (ROOT / folder).rglob("__init__.py"):
            found.add(".".join((name, *init.parent.relative_to(ROOT / folder).parts)))
    assert found == listed
