"""The release command: refusals before the build, its output, and commands equal to those in the README."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import sys
import tomllib
import zipfile

import pytest

from tools.release import __main__ as release
from tools.release.environments import COMMANDS, UNTRIED, Extra, Installed, extras_of, run_in, try_extra
from tools.release.wheel import PACKAGES
from unet_spec import InputError

from ... import ROOT

FILES = {
    "pyproject.toml": '[project]\nversion = "0.2.0"\n',
    "CITATION.cff": "version: 0.2.0\n",
    "CHANGELOG.md": "## [0.2.0] - 2026-01-02\n\n- a change\n",
    **{f"{folder}/__init__.py": "" for folder in PACKAGES.values()},
}


def git(root, *arguments: str) -> None:
    who = ("-c", "user.name=a", "-c", "user.email=a@b")
    subprocess.run(["git", "-C", str(root), *who, *arguments], check=True)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A small repository with one commit; stubs replace building and environments."""
    root = tmp_path / "repository"
    for name, text in FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
    git(root, "init", "-q")
    git(root, "add", ".")
    git(root, "commit", "-q", "-m", "first")
    (root / ".git/info/exclude").write_text("ignored\n")
    monkeypatch.setattr(release, "ROOT", root)

    def build(sources, folder):
        assert not (sources / "ignored").exists()
        wheel, sdist = folder / "unet_twins-0.2.0-py3-none-any.whl", folder / "unet_twins-0.2.0.tar.gz"
        with zipfile.ZipFile(wheel, "w") as archive:
            for name, where in PACKAGES.items():
                archive.write(sources / where / "__init__.py", f"{name}/__init__.py")
            archive.writestr("unet_twins-0.2.0.dist-info/licenses/LICENSE", "text")
        sdist.write_bytes(b"sources")
        return wheel, sdist

    monkeypatch.setattr(release, "build", build)
    monkeypatch.setattr(release, "try_all", lambda extra, *_: [Installed("numpy", "2", "BSD")])
    return root


def call(monkeypatch, *arguments) -> int:
    monkeypatch.setattr(sys, "argv", ["release", *map(str, arguments)])
    return release.main()


def test_what_a_release_holds(root, tmp_path, monkeypatch):
    (root / "ignored").write_text("not for the release")
    assert call(monkeypatch, "-o", tmp_path / "dist") == 0
    names = {path.name for path in (tmp_path / "dist").iterdir()}
    assert names == {
        "unet_twins-0.2.0-py3-none-any.whl", "unet_twins-0.2.0.tar.gz", "CONTENTS.txt", "LICENCES.txt", "RELEASE.md",
        "SHA256SUMS", "sbom.cdx.json",
    }  # fmt: skip
    listed = dict(line.split("  ")[::-1] for line in (tmp_path / "dist/SHA256SUMS").read_text().splitlines())
    assert set(listed) == names - {"SHA256SUMS"}
    assert all(hashlib.sha256((tmp_path / "dist" / n).read_bytes()).hexdigest() == sha for n, sha in listed.items())
    page = (tmp_path / "dist/RELEASE.md").read_text()
    assert "- a change" in page
    assert "`unet info --preset paper --input 572`" in page
    assert "draft" not in page
    assert json.loads((tmp_path / "dist/sbom.cdx.json").read_text())["components"][0]["name"] == "numpy"
    assert call(monkeypatch, "-o", tmp_path / "dist", "--extras", "jax") == 0  # in place of the old one
    assert "[onnx]'`, fresh" not in (tmp_path / "dist/RELEASE.md").read_text()


def test_what_is_not_ready_is_refused_and_leaves_nothing(root, tmp_path, monkeypatch, capsys):
    (root / "new.txt").write_text("")
    assert call(monkeypatch, "-o", tmp_path / "dist") == 2
    assert "1 files are not committed, such as new.txt" in capsys.readouterr().err
    (root / "new.txt").unlink()
    (root / "CHANGELOG.md").write_text("## [Unreleased]\n\n- a change\n")
    subprocess.run(
        ["git", "-C", str(root), *["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qam", "x"]], check=True
    )
    assert call(monkeypatch, "-o", tmp_path / "dist") == 2
    assert "CHANGELOG.md has no section [0.2.0]" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()
    assert call(monkeypatch, "-o", tmp_path / "dist", "--draft") == 0
    assert "**A draft**" in (tmp_path / "dist/RELEASE.md").read_text()


def test_a_folder_of_others_and_an_unknown_extra_are_refused(root, tmp_path, monkeypatch, capsys):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/file").write_text("")
    assert call(monkeypatch, "-o", tmp_path / "mine") == 2
    assert "holds other files" in capsys.readouterr().err
    assert call(monkeypatch, "-o", tmp_path / "dist", "--extras", "jacks") == 2
    assert "[jacks] is not tried; there are [], [jax]" in capsys.readouterr().err


def test_a_failure_leaves_the_old_release(root, tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, "-o", tmp_path / "dist") == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "dist").iterdir()}

    def fails(*_):
        raise InputError("unet check: exit code 1: no")

    monkeypatch.setattr(release, "try_all", fails)
    assert call(monkeypatch, "-o", tmp_path / "dist") == 2
    assert "unet check: exit code 1" in capsys.readouterr().err
    assert before == {path.name: path.read_bytes() for path in (tmp_path / "dist").iterdir()}


def test_commands_are_those_of_the_readme():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for extra in COMMANDS.values():
        for command in extra.commands:
            words = command.split()
            if words[0] == "unet" and not words[1].startswith("--"):
                assert f"unet {words[1]} " in readme, command


def test_every_extra_is_tried_or_says_why_not():
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    tried = {name for extra in extras_of(ROOT) for name in extra.split(",") if name}
    assert tried | set(UNTRIED) == set(extras)
    assert not tried & set(UNTRIED)
    assert {"zarr", "jax", "torch", "onnx"} <= set(extras_of(ROOT))


def test_a_command_that_fails_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"^what: exit code 3: why$"):
        run_in(tmp_path, [sys.executable, "-c", "import sys; print('x\\nwhy', file=sys.stderr); sys.exit(3)"], "what")


def test_variables_of_this_process_do_not_reach_an_environment(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", "here")
    code = "import os; print('PYTHONPATH' in os.environ, repr(os.environ['CUDA_VISIBLE_DEVICES']))"
    assert run_in(tmp_path, [sys.executable, "-c", code], "x") == "False ''\n"


@pytest.mark.parametrize("absent", [("torch",), ()])
def test_a_package_that_must_be_absent_is_reported(tmp_path, monkeypatch, absent):
    from tools.release import environments

    calls = []

    def fake(folder, command, what):
        calls.append(what)
        folder.mkdir(parents=True, exist_ok=True)
        found = [{"name": n, "version": "1", "licence": "", "needs": []} for n in ("Torch", "pip")]
        return json.dumps(found) if what == "the list of packages" else ""

    monkeypatch.setattr(environments, "run_in", fake)
    monkeypatch.setitem(COMMANDS, "x", Extra(("unet info",), absent))
    lines: list[str] = []
    arguments = ("x", tmp_path / "a.whl", tmp_path / "env", tmp_path / "c.txt", lines.append)
    if absent:
        with pytest.raises(InputError, match=re.escape("unet-twins[x] installs torch")):
            try_extra(*arguments)
    else:
        assert [d.name for d in try_extra(*arguments)] == ["Torch"]
    assert lines == ["[x] unet info"]
    assert calls[:3] == ["venv for [x]", "pip install a.whl[x]", "an image"]
