"""Some hundred damaged and hostile inputs; `python -m parity_tests.fuzz --count N --seed S` tries more."""

import json
import subprocess
import sys

import numpy as np
import pytest

from .. import ROOT
from . import images, json_
from .bytes_ import change
from .mischief import EXPECTED


def program(module, *arguments):
    command = [sys.executable, "-m", f"parity_tests.fuzz{module}", *map(str, arguments)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


@pytest.mark.slow
def test_no_input_gets_through(tmp_path):
    done = program("", "--count", 300, "--seed", 0, "--out", tmp_path / "table")
    print(done.stdout)
    assert done.returncode == 0, done.stdout + done.stderr
    table = json.loads((tmp_path / "table").read_text())
    assert sum(row["cases"] for row in table["table"]) == 300
    refused = sum(row["refused"] for row in table["table"])
    assert 100 < refused < 290, "changes that are all refused, or none, try little"


@pytest.mark.slow
def test_every_whole_input_is_accepted():
    """Else the changes of its kind would be refused whatever they are, and try nothing."""
    done = program("", "--whole")
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_fuzzer_sees_every_broken_promise():
    done = program(".mischief")
    found = json.loads(done.stdout)
    assert found.pop("accepts") == "accepted"
    for work, expected in EXPECTED.items():
        assert found[work.__name__].startswith(expected), (work.__name__, found[work.__name__])
        assert bool(found[work.__name__]) == bool(expected), (work.__name__, found[work.__name__])


@pytest.mark.parametrize("of", [change, json_.change, images.png])
def test_a_case_follows_from_its_seed(of):
    from io import BytesIO

    from PIL import Image

    stream = BytesIO()
    Image.fromarray(np.arange(64, dtype=np.uint8).reshape(8, 8)).save(stream, "PNG")
    data = b'{"a": [1, {"b": "c"}], "d": 2.5}' if of is json_.change else stream.getvalue()
    first, again = ([of(np.random.default_rng([3, i]), data) for i in range(60)] for _ in range(2))
    assert first == again
    assert len({content for _, content in first}) > 30


@pytest.mark.slow
def test_a_prediction_that_dies_while_it_writes_loses_nothing_and_leaves_nothing_half():
    done = program(".kills")
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert {name: wrong for name, wrong in found["wrong"].items() if wrong} == {}
    assert found["died"] >= 40
