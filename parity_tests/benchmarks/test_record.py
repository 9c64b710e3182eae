"""The start of every benchmark, its record, and the list of them."""

import json
import re
import sys
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path

import pytest

import benchmarks
from benchmarks.record import open_record, record_of, start, write_record, write_with_page
from unet_spec import InputError

FOLDER = Path(benchmarks.__file__).parent
PROGRAMS = re.findall(r"^\| `(benchmarks\.[\w.]+)`", (FOLDER / "README.md").read_text(), re.MULTILINE)


@dataclass(frozen=True)
class Args:
    rounds: int = 3
    """Measurements."""


def test_a_program_parses_its_flags_and_ends_with_its_exit_code(monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["train.py", "--rounds", "7"])
    with pytest.raises(SystemExit) as exit:
        start("train", Args, lambda args: args.rounds, "What it measures.")
    assert exit.value.code == 7
    assert record_of("train", lines=[])["command"] == "python -m benchmarks.train --rounds 7"

    def fail(args):
        raise InputError("no data")

    with pytest.raises(SystemExit) as exit:
        start("train", Args, fail, "What it measures.")
    assert exit.value.code == 2
    assert capsys.readouterr().err == "benchmarks.train: no data\n"
    monkeypatch.setattr(sys, "argv", ["train.py", "--help"])
    with pytest.raises(SystemExit):
        start("train", Args, fail, "What it measures.")
    assert "python -m benchmarks.train" in capsys.readouterr().out


def test_a_record_says_how_it_was_made(tmp_path):
    record = record_of("train", lines=[1])
    write_record(tmp_path / "new" / "a.json", record)
    assert json.loads((tmp_path / "new" / "a.json").read_text()) == record
    assert set(record) == {"command", "hardware", "versions", "date", "lines"}


def test_a_table_continues_where_it_was_stopped(tmp_path):
    path = tmp_path / "a.json"
    record = open_record("train", path, "12 images")
    assert record["runs"] == []
    record["runs"].append({"seed": 1})
    write_with_page(path, record, "# Page\n")
    assert open_record("train", path, "12 images")["runs"] == [{"seed": 1}]
    assert path.with_suffix(".md").read_text() == "# Page\n"
    with pytest.raises(InputError, match=r"a\.json is of 12 images, not of 13 images; give another --out"):
        open_record("train", path, "13 images")


def test_the_readme_lists_every_program():
    files = [path for path in FOLDER.rglob("*.py") if 'if __name__ == "__main__"' in path.read_text()]
    names = {".".join(path.relative_to(FOLDER.parent).with_suffix("").parts) for path in files}
    assert set(PROGRAMS) == names - {"benchmarks.nnunet.reference"}  # a part of nnunet.compare


@pytest.mark.parametrize("name", PROGRAMS)
def test_every_program_can_be_imported(name):
    module = import_module(name)
    assert callable(module.main)
    assert f"python -m {name}" in module.__doc__


def test_every_result_is_in_the_readme():
    text = (FOLDER / "README.md").read_text()
    patterns = [p.replace("*", r"[\w-]*") for p in re.findall(r"`(\w+/[\w*]+)\.\w+`", text)]
    results = [path.relative_to(FOLDER / "results").with_suffix("") for path in (FOLDER / "results").rglob("*.*")]
    assert results
    assert [str(r) for r in results if not any(re.fullmatch(p, str(r)) for p in patterns)] == []
