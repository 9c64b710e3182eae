"""The doors: examples and documents import from the packages themselves, and every public name has a docstring."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import re
import textwrap
from pathlib import Path

import pytest

from .. import EXAMPLES, ROOT

PACKAGES = ("unet_spec", "unet_data", "unet_jax", "unet_torch", "unet_export", "unet_tools")
PLACES = [*sorted(EXAMPLES.rglob("*.py")), *sorted(EXAMPLES.rglob("*.ipynb")), *sorted((ROOT / "docs").rglob("*.md"))]
PLACES += [ROOT / "README.md", ROOT / "hubconf.py"]


def python_of(path: Path) -> list[str]:
    """The Python in a file: itself, a notebook's cells, or a document's blocks."""
    text = path.read_text(encoding="utf-8")
    if path.suffix == ".ipynb":
        return ["".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "code"]
    if path.suffix == ".md":
        return [textwrap.dedent(block) for block in re.findall(r"```python\n(.*?)```", text, re.DOTALL)]
    return [text]


def imports_of(code: str) -> list[tuple[str, str]]:
    """(module, name) of everything that the code imports of ours; the name is "" for `import module`."""
    found = []
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Import):
            found += [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            found += [(node.module, alias.name) for alias in node.names]
    return [(module, name) for module, name in found if module.split(".")[0] in PACKAGES]


@pytest.mark.parametrize("path", PLACES, ids=lambda p: str(p.relative_to(ROOT)))
def test_what_a_user_reads_imports_from_the_door(path):
    for code in python_of(path):
        for module, name in imports_of(code):
            assert module in PACKAGES, f"{path} imports {name or module} from behind the door: {module}"
            assert not name or name in importlib.import_module(module).__all__, f"{module} has no public {name}"


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_exists_and_has_a_docstring(package):
    module = importlib.import_module(package)
    assert len(set(module.__all__)) == len(module.__all__)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        value = getattr(module, name)
        if inspect.isclass(value) or inspect.isroutine(value) or inspect.ismodule(value):
            doc = inspect.getdoc(value) or ""
            own = bool(doc) and not doc.startswith(f"{name}(")  # a dataclass without one gets its signature
            assert own, f"{package}.{name} has no docstring of its own"
