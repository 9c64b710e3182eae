"""The pages of the site: every code block is run, or says why not; generated pages are up to date; links lead on."""

from __future__ import annotations

import re
import runpy
import shutil

import pytest

from .. import ROOT
from .pages import BLOCK, SHOWN, blocks_of, furnish, run_page

DOCS = ROOT / "docs"
GENERATED = ("families.md",)
"""Pages that a program of docs/generate writes. parity_tests/tools/commands/test_every_family.py runs the commands."""
PAGES = [p for p in sorted(DOCS.rglob("*.md")) if "generate" not in p.parts and p.name not in GENERATED]
TEXTS = [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "ARCHITECTURE", "SECURITY")]
"""Texts of the repository that are part of the site; their blocks are marked."""


def name_of(page) -> str:
    return page.relative_to(ROOT).as_posix().removeprefix("docs/")


def runs(page) -> bool:
    return any(not (b.reason or b.title or b.language in SHOWN) for b in blocks_of(page))


def indented(page) -> list[str]:
    """The first lines of blocks that are code by their four spaces alone, which no test runs."""
    text = BLOCK.sub("", page.read_text(encoding="utf-8"))
    blocks = re.findall(r"(?:\A|\n)\n( {4,}\S.*)", text)
    return [line for line in blocks if not re.match(r" +([-*|]|\d+\.) ?", line)]


@pytest.mark.parametrize("page", [*PAGES, *TEXTS], ids=name_of)
def test_a_block_of_code_has_a_fence(page):
    assert indented(page) == []


@pytest.mark.parametrize("page", [*PAGES, *TEXTS], ids=name_of)
def test_a_block_is_shown_or_run_or_says_why_not(page):
    for block in blocks_of(page):
        if block.reason or block.language in SHOWN:
            continue
        if block.title:
            assert page.name == "add-a-network.md", "only test_add_a_network.py runs blocks with a title"
            continue
        assert page not in TEXTS, "mark it, or move it to docs/"
        assert block.language in ("python", "sh"), f"{block.language!r} is neither shown nor run"
        if block.language == "sh":
            lines = [line for line in block.code.splitlines() if line.strip()]
            assert all(line.startswith("unet ") for line in lines), lines


def test_a_block_that_no_test_runs_is_noticed(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```python\nassert 0, 'seen'\n```\n\n<!-- not run: why -->\n```sh\nrm\n```\n\n```sh\nrm\n```\n")
    assert [(b.language, b.reason) for b in blocks_of(page)] == [("python", None), ("sh", "why"), ("sh", None)]
    with pytest.raises(AssertionError, match="seen"):
        run_page(page)
    page.write_text("```sh\nrm -r all\n```\n")
    with pytest.raises(AssertionError, match="no command of ours"):
        run_page(page)
    page.write_text("Run\n\n    unet info\n\n```text\n\n    shown\n```\n- a list\n\n    - below it\n")
    assert indented(page) == ["    unet info"]


@pytest.fixture(scope="module")
def furnished(tmp_path_factory):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    folder = tmp_path_factory.mktemp("reader")
    furnish(folder)
    return folder


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
@pytest.mark.parametrize("page", [p for p in PAGES if runs(p)], ids=name_of)
def test_the_blocks_of_a_page_run(page, furnished, tmp_path, monkeypatch):
    pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
    pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
    shutil.copytree(furnished, tmp_path, dirs_exist_ok=True)  # a reader begins each page with the same files
    monkeypatch.chdir(tmp_path)
    assert run_page(page) > 0


@pytest.mark.parametrize("name", [pytest.param("commands", marks=pytest.mark.slow), "weight_map"])
def test_a_generated_page_is_up_to_date(name):
    """Where it is not: python docs/generate/NAME.py"""
    space = runpy.run_path(str(DOCS / "generate" / f"{name}.py"))
    assert space["PAGE"].read_text(encoding="utf-8") == space["page"]()


@pytest.mark.slow
def test_the_figures_are_up_to_date():
    """Their text, at least: where lines end depends on the version of matplotlib."""
    pytest.importorskip("matplotlib", reason="matplotlib is not installed; pip install 'unet-twins[report]'")
    figures = runpy.run_path(str(DOCS / "generate" / "figures.py"))["FIGURES"]
    for name, draw in figures.items():
        words = [re.findall(r"<text[^>]*>([^<]*)</text>", t) for t in ((DOCS / "assets" / name).read_text(), draw())]
        assert words[0] == words[1]
        assert len(words[0]) > 8


def test_links_lead_somewhere():
    site = runpy.run_path(str(DOCS / "generate" / "site.py"))
    texts = [p for p in DOCS.rglob("*.md") if "generate" not in p.parts]
    texts += [ROOT / f"{name}.md" for name in ("README", "CONTRIBUTING", "ARCHITECTURE", "CHANGELOG", "SECURITY")]
    broken = []
    for text in texts:
        page = text.relative_to(ROOT).as_posix()
        for target in site["links"](text.read_text(encoding="utf-8")):
            path = site["resolved"](target, page)
            if path is None or not (ROOT / path).exists():
                broken.append(f"{page}: {target}")
    assert broken == []


def test_links_of_the_site_lead_to_copies_of_files_outside_docs():
    rewritten = runpy.run_path(str(DOCS / "generate" / "site.py"))["rewritten"]
    for before, after in (
        ("[a](../CONTRIBUTING.md#test)", "[a](repository/CONTRIBUTING.md#test)"),
        ("[`b.toml`](../unet_spec/b.toml)", "`b.toml` (`unet_spec/b.toml`)"),
        ("[c](sources.md)", "[c](sources.md)"),
        ("[d](#below)", "[d](#below)"),
        ("![d](../e/f.png)", "![d](repository/e/f.png)"),
        ("[g](https://h/i)", "[g](https://h/i)"),
    ):
        assert rewritten(before, "jax.md") == after
    assert rewritten("[a](../../CONTRIBUTING.md)", "how/x.md") == "[a](../repository/CONTRIBUTING.md)"
    assert rewritten("[a](docs/jax.md) [b](PARITY.md)", "repository/README.md") == "[a](../jax.md) [b](PARITY.md)"


THEIRS = {
    "--backend-store-uri": "mlflow",
    "--gpus-per-task": "SLURM",
    "--nodes": "SLURM",
    "--ntasks": "SLURM",
    "--ntasks-per-node": "SLURM",
    "--requeue": "SLURM",
    "--signal": "SLURM",
    "--logdir": "tensorboard",
    "--membranes": "tools.weights",
    "--no-index": "pip",
    "--no-large-pages": "of unet itself, before any command",
    "--nuclei": "tools.weights",
    "--xla": "XLA_FLAGS",
}
"""Flags of other programs that pages name."""

FLAG = re.compile(r"(?<![\w-])--[a-z][a-z-]+")


def test_flags_that_pages_name_exist():
    known = set(FLAG.findall((DOCS / "reference" / "commands.md").read_text(encoding="utf-8")))
    texts = [p for p in PAGES if p.parent.name in ("start", "guides", "how")] + [ROOT / "CHANGELOG.md"]
    named = {(text.name, flag) for text in texts for flag in FLAG.findall(text.read_text(encoding="utf-8"))}
    assert sorted(f"{name} names {flag}" for name, flag in named if flag not in known | set(THEIRS)) == []
    assert len(named) > 30
