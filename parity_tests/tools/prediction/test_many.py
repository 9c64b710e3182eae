"""Several images in one command: one that is refused keeps no other from its result."""

import json

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 4), in_channels=1)
TRAINED = DataSpec((0.5,), (0.18,))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current directory, with a network ck/ and images a.npy, b.npy (spoilt) and c.npy."""
    monkeypatch.chdir(tmp_path)
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), TRAINED).save("ck")
    rng = np.random.default_rng(0)
    for name in "abc":
        np.save(f"{name}.npy", rng.normal(0.5, 0.18, (40, 44)).astype(np.float32))
    spoil("b.npy")
    return tmp_path


def spoil(name):
    image = np.load(name)
    image[0, 0] = np.nan
    np.save(name, image)


COMMAND = ["predict", "ck", "a.npy", "b.npy", "c.npy", "-o", "out", "--runtime", "jax"]


def test_one_that_is_refused_keeps_no_other_from_its_result(home, capsys):
    assert main([*COMMAND, "--json"]) == 2
    printed = capsys.readouterr()
    records = json.loads(printed.out)["images"]
    assert [("error" in r, r["image"]) for r in records] == [(False, "a.npy"), (True, "b.npy"), (False, "c.npy")]
    assert "NaN" in records[1]["error"]
    assert printed.err.count("NaN") == 1
    assert "1 of 3 failed: b.npy;" in printed.err
    assert sorted(p.name for p in (home / "out").iterdir()) == ["a.npy", "c.npy"]


def test_what_exists_is_refused_left_out_or_replaced_as_one_says(home, capsys):
    (home / "out").mkdir()
    (home / "out" / "a.npy").write_bytes(b"mine")
    np.save("b.npy", np.full((40, 44), 0.5, np.float32))
    assert main(COMMAND) == 2
    assert "a.npy exists" in capsys.readouterr().err
    assert main([*COMMAND, "--skip-existing"]) == 0
    assert (home / "out" / "a.npy").read_bytes() == b"mine"
    assert sorted(p.name for p in (home / "out").iterdir()) == ["a.npy", "b.npy", "c.npy"]
    capsys.readouterr()
    assert main([*COMMAND, "--skip-existing", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["images"] == []
    assert main([*COMMAND, "--skip-existing", "--overwrite"]) == 2
    assert "leave out one" in capsys.readouterr().err
    assert main([*COMMAND, "--overwrite"]) == 0
    assert np.load("out/a.npy").shape == (40, 44)


def test_all_refused_are_counted_and_the_only_one_is_reported_once(home, capsys):
    spoil("a.npy")
    spoil("c.npy")
    assert main(COMMAND) == 2
    assert "3 of 3 failed: a.npy, b.npy, c.npy;" in capsys.readouterr().err
    assert main(["predict", "ck", "b.npy", "-o", "o.npy", "--runtime", "jax"]) == 2
    assert capsys.readouterr().err.count("NaN") == 1
