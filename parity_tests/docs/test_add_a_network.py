"""The recipe of docs/develop/add-a-network.md, followed in a copy of the project."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys

import pytest

from .. import ROOT
from ..test_layout import tracked

PAGE = ROOT / "docs" / "develop" / "add-a-network.md"
pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")


def blocks() -> dict[str, str]:
    """The Python of the page by its title."""
    return dict(re.findall(r'```python title="(.*?)"\n(.*?)```', PAGE.read_text(encoding="utf-8"), re.DOTALL))


@pytest.mark.slow
def test_the_network_of_the_page_passes_what_every_network_passes(tmp_path):
    for file in tracked():
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(ROOT / file, tmp_path / file)
    *files, (_, number) = blocks().items()
    assert [name for name, _ in files] == [f"{p}/families/sum_unet.py" for p in ("unet_spec", "unet_torch", "unet_jax")]
    for name, code in files:
        (tmp_path / name).write_text(code, encoding="utf-8")
    numbers = tmp_path / "parity_tests/spec/families/test_numbers.py"
    numbers.write_text(
        numbers.read_text(encoding="utf-8").replace(
            "NUMBERS = [\n", f"NUMBERS = [\n    {number.rstrip(chr(10) + ',')},\n", 1
        )
    )
    readme = tmp_path / "README.md"
    readme.write_text(readme.read_text(encoding="utf-8").replace("`unet++`,", "`sum-unet`, `unet++`,", 1))
    path = os.pathsep.join(str(tmp_path / folder) for folder in (".", "export", "tools"))
    environment = {k: v for k, v in os.environ.items() if not k.startswith("PYTEST_")} | {"PYTHONPATH": path}

    def run(*arguments: str) -> str:
        command = [sys.executable, *arguments]
        done = subprocess.run(command, cwd=tmp_path, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert "6,928,833 parameters" in run("-m", "unet_tools.cli", "info", "--preset", "sum-unet", "--input", "256")
    run("docs/generate/families.py")
    assert "## sum-unet" in (tmp_path / "docs/families.md").read_text(encoding="utf-8")
    tests = ("battery/test_battery.py", "spec/families/test_numbers.py", "spec/test_registry.py")
    named = "sum-unet or number or every_preset or up_to_date"
    said = run("-m", "pytest", "-q", "-p", "no:cacheprovider", "-k", named, *(f"parity_tests/{t}" for t in tests))
    assert " passed" in said
    assert "failed" not in said
