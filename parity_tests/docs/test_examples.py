"""The folders of examples/: each says what it shows, how long it takes and what it prints, and needs only its extra."""

from __future__ import annotations

import ast
import re

import pytest

from .. import EXAMPLES, ROOT
from .test_doors import python_of

RUN_BY = {
    "cell_tracking": "docs/test_training_examples.py",
    "finetune_pytorch": "docs/test_training_examples.py",
    "lightning_unet": "docs/test_lightning.py",
    "own_loop": "docs/test_training_examples.py",
    "round_trip": "docs/test_training_examples.py",
    "serve": "docs/test_serve.py",
    "train_own_folder": "docs/test_training_examples.py",
    "triton_server": "export/serving/test_triton.py",
}
"""Each example, and the file of parity_tests that runs it."""

BRINGS = {
    "jax": {"jax", "flax", "optax", "orbax", "unet_jax"},
    "torch": {"torch", "unet_torch"},
    "onnx": {"onnx", "onnxruntime"},
    "report": {"matplotlib", "jinja2"},
}
"""What each extra installs, or makes usable, that an example may import."""


def imported(code: str) -> set[str]:
    """The top packages that a program imports."""
    names = [alias.name for node in ast.walk(ast.parse(code)) if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in ast.walk(ast.parse(code)) if isinstance(node, ast.ImportFrom)]
    return {name.split(".")[0] for name in names}


def beyond_its_extra(readme: str, code: str) -> set[str]:
    """Packages that a program imports and that the `pip install` line of its README does not name."""
    line = next(iter(re.findall(r"^ *pip install .+", readme, re.MULTILINE)), "")
    extras = {extra for found in re.findall(r"unet-twins\[([a-z,-]+)\]", line) for extra in found.split(",")}
    others = set().union(*(packages for extra, packages in BRINGS.items() if extra not in extras))
    return {name for name in imported(code) & others if not re.search(rf"\b{name}\b", line.partition("]")[2])}


def test_every_folder_is_run_by_a_test_and_listed():
    folders = {path.name for path in EXAMPLES.iterdir() if path.is_dir() and path.name != "__pycache__"}
    assert folders == set(RUN_BY)
    listed = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    for name, file in RUN_BY.items():
        assert f"({name}/README.md)" in listed, name
        assert name in (ROOT / "parity_tests" / file).read_text(encoding="utf-8"), file


@pytest.mark.parametrize("name", RUN_BY)
def test_a_readme_has_the_command_the_time_and_the_output(name):
    text = (EXAMPLES / name / "README.md").read_text(encoding="utf-8")
    headings = re.findall(r"^## (.+)$", text, re.MULTILINE)
    assert [h for h in headings if h in ("Run", "Time", "Expected output")] == ["Run", "Time", "Expected output"]
    assert re.search(r"## Time\n\n.*?\b(CPU|cores?|GPU)\b", text, re.DOTALL), "on which hardware?"
    scripts = [path for path in (EXAMPLES / name).iterdir() if path.suffix in (".py", ".ipynb")]
    for path in scripts:
        assert path.name in text
        for code in python_of(path):
            assert beyond_its_extra(text, code) == set(), f"{path.name} needs more than its README installs"


def test_an_import_beyond_the_extra_is_noticed():
    readme = "    pip install 'unet-twins[torch]' lightning\n"
    assert beyond_its_extra(readme, "import torch, lightning, unet_torch") == set()
    assert beyond_its_extra(readme, "def f():\n    from jax import numpy\nimport unet_jax") == {"jax", "unet_jax"}
