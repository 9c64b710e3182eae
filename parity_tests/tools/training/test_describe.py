"""What `unet train` reports before training: how labels were read, and warnings."""

import json
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from unet_data import membranes, split
from unet_jax.training.augmentation.augment import NONE
from unet_jax.training.settings import TrainSettings
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main
from unet_tools.training.describe import changed_schedule, describe_dataset, warnings

from ...fixtures.no_training import STOPPED, without_training

NARROW = preset("paper", widths=(2, 4), dropout=0.0)
TWO_STEPS = TrainSettings().replace(steps=2, tile=28, augmentation=NONE)
FLAGS = ["--steps", "2", "--tile", "28", "--widths", "2", "4", "--no-report"]


def folder_of(path, dtype, values, count=6):
    """images/ and labels/ whose masks hold these values."""
    rng = np.random.default_rng(0)
    for kind in ("images", "labels"):
        (path / kind).mkdir(parents=True)
    for number in range(count):
        Image.fromarray(rng.integers(0, 256, (40, 40)).astype(np.uint8)).save(path / "images" / f"{number}.png")
        label = np.array(values)[rng.integers(0, len(values), (40, 40))].astype(dtype)
        Image.fromarray(label).save(path / "labels" / f"{number}.png")
    return path


@pytest.mark.parametrize(
    ("dtype", "flags", "message"),
    [
        (
            np.uint8,
            [],
            "labels read as class indices; if they number objects, pass --labels instance): 3 classes: class 0",
        ),
        (
            np.uint16,
            [],
            "labels read as numbers of objects; if they are classes, pass --labels semantic): 2 classes: back",
        ),
        (np.uint16, ["--labels", "semantic"], "(labels read as class indices): 3 classes: class 0, class 1, class 2"),
        (np.uint8, ["--labels", "instance"], "(labels read as numbers of objects): 2 classes: background, foreground"),
    ],
)
def test_training_says_how_it_reads_the_labels(dtype, flags, message, tmp_path, capsys, monkeypatch):
    without_training(monkeypatch)
    data = folder_of(tmp_path / "data", dtype, (0, 1, 2))
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *FLAGS, *flags]) == STOPPED
    assert message in capsys.readouterr().err


def test_many_classes_are_named_by_their_first():
    made = replace(membranes(1, 40, 0), class_names=tuple(map(str, range(9))), source="here")
    assert describe_dataset(made) == "here: 9 classes: 0, 1, 2, 3, 4, 5, …"


def test_a_network_of_classes_is_not_scored_on_numbers_of_objects(tmp_path, capsys):
    data = folder_of(tmp_path / "data", np.uint16, (0, 1, 2))
    config = NARROW.replace(out_channels=3)
    Checkpoint(config, random_tensors(config.graph, 0, np.float32), DataSpec((0.5,), (0.2,))).save(tmp_path / "ck")
    evaluate = ["evaluate", str(tmp_path / "ck"), str(data), "--runtime", "jax", "--json"]
    assert main(evaluate) == 2
    message = capsys.readouterr().err
    assert "pass --labels semantic" in message
    assert "number objects of one class, the network predicts 3" in message
    assert main([*evaluate, "--labels", "semantic"]) == 0
    assert json.loads(capsys.readouterr().out)["data"].endswith("(labels read as class indices)")


def message(config=NARROW, training=None, validation=None, **changes):
    made = split(membranes(6, 40, 0))
    return list(warnings(config, TWO_STEPS.replace(**changes), training or made[0], validation or made[1]))


def test_what_cannot_come_of_a_run_is_reported():
    assert message() == []
    made = membranes(2, 40, 0)
    empty = replace(made, labels=tuple(np.zeros_like(label) for label in made.labels))
    assert message(training=empty) == ["class 1 (cell) has no pixel in the training part: the network cannot learn it"]
    assert message(validation=empty) == [
        "class 1 (cell) has no pixel in the validation part: it has no score and does not choose best/"
    ]
    flat = tuple(np.full_like(image, 77) for image in made.images)
    assert message(training=replace(made, images=flat)) == [
        "every training image is constant, so nothing can be learnt from them"
    ]
    assert message(training=replace(made, images=(flat[0], made.images[1]))) == []


@pytest.mark.parametrize(
    ("norm", "batch", "accumulate", "warned"),
    [
        ("batch", 1, 1, True),
        ("batch", 4, 4, True),
        ("batch", 4, 2, False),
        ("none", 1, 1, False),
        ("group", 1, 1, False),
    ],
)
def test_batch_norm_of_one_tile_is_reported(norm, batch, accumulate, warned):
    found = message(NARROW.replace(norm=norm, norm_groups=2), batch=batch, accumulate=accumulate)
    assert any("batch norm sees one tile at a time" in line for line in found) == warned


def test_a_cosine_over_more_steps_is_reported():
    """A run of 20 steps whose rate was all but 0; of 40, half of the peak."""
    before = TWO_STEPS.replace(steps=20, warmup=0.0, learning_rate=1.0)
    line = changed_schedule(before.replace(steps=40), before, 20)
    assert line is not None
    assert "now spans 40 steps instead of 20: the learning rate changes from 0 to 0.5," in line
    assert changed_schedule(before, before, 20) is None
    assert changed_schedule(before.replace(steps=40), before, 0) is None
    constant = before.replace(schedule="constant")
    assert changed_schedule(constant.replace(steps=40), constant, 20) is None
