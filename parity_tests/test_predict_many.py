"""unet predict of several images, of which some are refused; and what looks like an image of another unit."""

import json

import numpy as np
import pytest

from unet_data.prepare import looks_foreign
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
    told = capsys.readouterr()
    records = json.loads(told.out)["images"]
    assert [("error" in r, r["image"]) for r in records] == [(False, "a.npy"), (True, "b.npy"), (False, "c.npy")]
    assert "NaN" in records[1]["error"]
    assert told.err.count("NaN") == 1
    assert "1 of 3 were not segmented: b.npy;" in told.err
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


def test_all_refused_are_counted_and_the_only_one_is_told_once(home, capsys):
    spoil("a.npy")
    spoil("c.npy")
    assert main(COMMAND) == 2
    assert "3 of 3 were not segmented: a.npy, b.npy, c.npy;" in capsys.readouterr().err
    assert main(["predict", "ck", "b.npy", "-o", "o.npy", "--runtime", "jax"]) == 2
    assert capsys.readouterr().err.count("NaN") == 1


def pixels(scale, dtype, size=(700, 90)):
    """As the training images, but in units of `scale`, and dark at the borders, which nobody looks at."""
    image = np.random.default_rng(1).normal(0.5, 0.18, (*size, 1)).clip(0, 1)
    image[:50] = 0
    return (image * scale).astype(dtype)


@pytest.mark.parametrize(("scale", "dtype"), [(1, "f4"), (255, "u1"), (65535, "u2"), (0.8, "f4"), (40, "u1")])
def test_images_of_the_units_trained_on_pass(scale, dtype):
    assert looks_foreign(pixels(scale, dtype), TRAINED) is None


@pytest.mark.parametrize(
    ("scale", "dtype", "how"), [(255, "f4", "as it is"), (4095, "u2", "divided by 65535"), (1 / 255, "f4", "as it is")]
)
def test_images_of_other_units_are_told(scale, dtype, how):
    told = looks_foreign(pixels(scale, dtype), TRAINED)
    assert told is not None
    assert how in told


def test_volumes_channels_and_what_says_nothing():
    wrong = np.stack([pixels(1, "f4")[..., 0], pixels(255, "f4")[..., 0]], -1)
    assert "channel 1" in (looks_foreign(wrong, DataSpec((0.5, 0.5), (0.18, 0.18))) or "")
    volume = np.random.default_rng(0).normal(127, 40, (5, 90, 80, 1)).astype(np.float32)
    assert looks_foreign(volume, TRAINED)
    assert looks_foreign(volume, DataSpec()) is None
    assert looks_foreign(volume[0], DataSpec((0.5,) * 3, (1.0,) * 3)) is None  # refused elsewhere: other channels
    assert looks_foreign(np.zeros((60, 60, 1), np.uint8), TRAINED) is None  # a constant window is no other unit


def test_both_commands_warn(home, capsys):
    np.save("b.npy", pixels(255, np.float32, (90, 90))[..., 0])
    assert main(["predict", "ck", "b.npy", "-o", "o.npy", "--runtime", "jax", "--json"]) == 0
    assert "warning: b.npy: values unlike those trained on" in capsys.readouterr().err.replace("\n", " ")
    for folder, kind in (("images", "u2"), ("labels", "u1")):
        (home / "set" / folder).mkdir(parents=True)
        for name in "pq":
            value = pixels(4095, kind, (60, 60))[..., 0] if kind == "u2" else np.eye(60, dtype=np.uint8)
            np.save(home / "set" / folder / f"{name}.npy", value)
    assert main(["evaluate", "ck", "set", "--runtime", "jax", "--json"]) == 0
    assert "warning: p: values unlike those trained on" in capsys.readouterr().err.replace("\n", " ")
