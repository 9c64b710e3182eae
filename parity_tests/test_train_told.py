"""What `unet train` and `unet evaluate` tell: how the labels were read, what cannot come of a run, what a run that went
on is, and which score is whose."""

import json
import signal
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

import unet_tools.commands.train as command
from unet_data import membrane_instances, membranes, open_dataset, split
from unet_data.evaluate import commonest_class_accuracy, measure
from unet_data.tiles import middle
from unet_jax.augment import NONE
from unet_jax.runtime import JaxRuntime
from unet_jax.settings import TrainSettings
from unet_jax.train import TrainResult, train
from unet_jax.zoo import from_pretrained
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.before_training import another_schedule, warnings, what_is_learnt
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 4), dropout=0.0)
SETTINGS = TrainSettings(steps=2, tile=28, augmentation=NONE)
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
    ("dtype", "flags", "told"),
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
def test_training_says_how_it_reads_the_labels(dtype, flags, told, tmp_path, capsys):
    data = folder_of(tmp_path / "data", dtype, (0, 1, 2))
    assert main(["train", str(data), "--out", str(tmp_path / "run"), *FLAGS, *flags]) == 0
    assert told in capsys.readouterr().err


def test_many_classes_are_told_by_their_first():
    made = replace(membranes(1, 40, 0), class_names=tuple(map(str, range(9))), source="here")
    assert what_is_learnt(made) == "here: 9 classes: 0, 1, 2, 3, 4, 5, …"


def test_a_network_of_classes_is_not_scored_on_numbers_of_objects(tmp_path, capsys):
    data = folder_of(tmp_path / "data", np.uint16, (0, 1, 2))
    config = CONFIG.replace(out_channels=3)
    Checkpoint(config, random_tensors(config.graph, 0, np.float32), DataSpec((0.5,), (0.2,))).save(tmp_path / "ck")
    evaluate = ["evaluate", str(tmp_path / "ck"), str(data), "--runtime", "jax", "--json"]
    assert main(evaluate) == 2
    told = capsys.readouterr().err
    assert "pass --labels semantic" in told
    assert "number objects of one class, the network tells 3 apart" in told
    assert main([*evaluate, "--labels", "semantic"]) == 0
    assert json.loads(capsys.readouterr().out)["data"].endswith("(labels read as class indices)")


def told(config=CONFIG, training=None, validation=None, **changes):
    made = split(membranes(6, 40, 0))
    return list(warnings(config, replace(SETTINGS, **changes), training or made[0], validation or made[1]))


def test_what_cannot_come_of_a_run_is_told():
    assert told() == []
    made = membranes(2, 40, 0)
    empty = replace(made, labels=tuple(np.zeros_like(label) for label in made.labels))
    assert told(training=empty) == ["class 1 (cell) has no pixel in the training part: it cannot be learnt"]
    assert told(validation=empty) == ["class 1 (cell) has no pixel in the validation part: no score tells of it"]
    flat = tuple(np.full_like(image, 77) for image in made.images)
    assert told(training=replace(made, images=flat)) == [
        "every image of the training part is constant: there is nothing to learn from"
    ]
    assert told(training=replace(made, images=(flat[0], made.images[1]))) == []


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
def test_batch_norm_of_one_tile_is_told(norm, batch, accumulate, warned):
    found = told(CONFIG.replace(norm=norm, norm_groups=2), batch=batch, accumulate=accumulate)
    assert any("batch norm of one tile at a time" in line for line in found) == warned


def test_a_cosine_over_more_steps_is_told():
    """A run of 20 steps whose rate was all but 0; of 40, half of the peak."""
    before = replace(SETTINGS, steps=20, warmup=0.0, learning_rate=1.0)
    line = another_schedule(replace(before, steps=40), before, 20)
    assert line is not None
    assert "now spans 40 steps instead of 20: it goes on from 0.5, where it was 0;" in line
    assert another_schedule(before, before, 20) is None
    assert another_schedule(replace(before, steps=40), before, 0) is None
    constant = replace(before, schedule="constant")
    assert another_schedule(replace(constant, steps=40), constant, 20) is None


def test_a_run_that_went_on_otherwise_says_so(tmp_path, capsys):
    run, again = tmp_path / "run", ["train", "--out", str(tmp_path / "run"), "--resume", "--no-report", "--json"]
    assert main(["train", "synthetic", "--out", str(run), *FLAGS, "--json"]) == 0
    first = (run / "run.json").read_bytes()
    assert json.loads(first)["changed"] == []
    assert main([*again, "--learning-rate", "0.5"]) == 0  # no step is left to be done with it
    assert (run / "run.json").read_bytes() == first
    assert main([*again, "--steps", "3", "--learning-rate", "0.5"]) == 0
    assert "now spans 3 steps instead of 2" in capsys.readouterr().err
    assert main([*again, "--steps", "4"]) == 0
    stored = json.loads((run / "run.json").read_text())
    assert stored["changed"] == [
        {"after": 2, "steps": [2, 3], "learning_rate": [0.0, 0.5]},
        {"after": 3, "steps": [3, 4]},
    ]
    assert (stored["settings"]["steps"], stored["settings"]["learning_rate"]) == (4, 0.5)
    capsys.readouterr()
    assert main(["train", "--config", str(run / "run.json"), "--no-report", "--json"]) == 0
    assert "went on with other settings (steps 2 → 3; learning_rate 0.0 → 0.5 after step 2)" in capsys.readouterr().err
    assert json.loads((tmp_path / "run-2" / "run.json").read_text())["changed"] == []
    assert main(["train", "--config", str(tmp_path / "run-2" / "run.json"), "--no-report", "--json"]) == 0
    assert "went on with other settings" not in capsys.readouterr().err


@pytest.fixture
def two_checkpoints(tmp_path, monkeypatch):
    """A run whose best/ and last/ are different networks, without training."""
    out, (_, validation) = tmp_path / "run", split(membranes(24, 384, 0))
    for seed, name in enumerate(("best", "last")):
        tensors = random_tensors(CONFIG.graph, seed, np.float32)
        Checkpoint(CONFIG, tensors, DataSpec((0.5,), (0.2,), validation.class_names)).save(out / name)
    scores = {"pixel_error": 0.123, "iou": 0.456}
    monkeypatch.setattr(command, "train", lambda *_: TrainResult(out, scores, {"iou": 0.9}, [], None))
    best = from_pretrained(out / "best")
    return out, measure(JaxRuntime(best).run, CONFIG, best.data, validation, objects=True)


def test_scores_are_told_of_the_best_and_of_the_last(two_checkpoints, capsys):
    out, best = two_checkpoints
    run = ["train", "synthetic", "--out", str(out), *FLAGS]
    assert main(run) == 0
    table = capsys.readouterr().out
    row = next(line.split() for line in table.splitlines() if line.startswith("pixel_error"))
    assert row == ["pixel_error", f"{best['pixel_error']:.4f}", "0.1230"]
    assert f"next: unet predict {out / 'best'} IMAGE" in table
    assert main([*run, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["best"]["pixel_error"] == pytest.approx(best["pixel_error"])
    assert found["best"]["v_rand"] == pytest.approx(best["v_rand"])
    assert found["scores"] == {"pixel_error": 0.123, "iou": 0.456}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_run_leaves_with_the_signals_exit_code(number, tmp_path, monkeypatch, capsys):
    out = tmp_path / "a run"
    monkeypatch.setattr(command, "train", lambda *_: TrainResult(out, {}, {}, [], number))
    assert main(["train", "synthetic", "--out", str(out), *FLAGS]) == 128 + number
    assert f"unet train synthetic --out '{out}' --resume goes on" in capsys.readouterr().err


def test_the_report_shows_the_same_window_of_image_and_label(tmp_path, monkeypatch):
    pytest.importorskip("matplotlib")
    pytest.importorskip("jinja2")
    import unet_tools.demo
    from unet_tools.run_report import write_run_report

    monkeypatch.setattr("unet_tools.run_report.middle", lambda shape: middle(shape, 36))
    seen, real = [], unet_tools.demo.example_of
    monkeypatch.setattr(unet_tools.demo, "example_of", lambda *a: seen.append(a) or real(*a))
    training, validation = split(membranes(6, 60, 0))
    result = train(CONFIG, SETTINGS, training, validation, tmp_path / "run")
    best = from_pretrained(tmp_path / "run" / "best")
    assert write_run_report(result, CONFIG, SETTINGS, best, validation, dict(result.scores))
    window = middle((60, 60), 36)
    _, image, label, logits = seen[0]
    np.testing.assert_array_equal(image, validation.images[0][window])
    np.testing.assert_array_equal(label, validation.labels[0][window])
    assert logits.shape[:2] == (36, 36)
    scores = json.loads((tmp_path / "run" / "report.json").read_text())["scores"]
    assert scores["baseline_pixel_accuracy"] == pytest.approx(commonest_class_accuracy(validation))
    assert abs(scores["baseline_pixel_accuracy"] - 0.5) > 0.05


def test_samples_are_of_their_own_seed(tmp_path, capsys, monkeypatch):
    """What --seed reaches, without a network that has a latent variable."""
    asked = []
    monkeypatch.setattr("unet_tools.commands.evaluate.measure_samples", lambda *a: asked.append(a[-2:]) or {})
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), DataSpec((0.5,), (0.2,))).save(tmp_path / "ck")
    flags = ["--runtime", "jax", "--json", "--subset", "validation", "--samples", "3", "--seed", "9"]
    assert main(["evaluate", str(tmp_path / "ck"), "synthetic", *flags]) == 0
    capsys.readouterr()
    assert asked == [(3, 9)]


def test_a_flat_image_is_no_volume(tmp_path, capsys):
    config = preset("paper", widths=(2, 4), padding="same").replace(spatial_dims=3)
    Checkpoint(config, random_tensors(config.graph, 0, np.float32), DataSpec()).save(tmp_path / "ck")
    np.save(tmp_path / "flat.npy", np.zeros((1, 24, 24), np.uint8))
    np.save(tmp_path / "deep.npy", np.zeros((8, 24, 24), np.uint8))
    for name, warned in (("flat", True), ("deep", False)):
        target = tmp_path / f"{name}-out.npy"
        assert (
            main(
                ["predict", str(tmp_path / "ck"), str(tmp_path / f"{name}.npy"), "-o", str(target), "--runtime", "jax"]
            )
            == 0
        )
        assert ("one plane, where the network takes volumes" in capsys.readouterr().err) == warned


def test_numbers_of_objects_do_not_train_a_network_of_classes(tmp_path):
    training, validation = (
        replace(part, instances=membrane_instances(6, 40, 0)[: len(part)]) for part in split(membranes(6, 40, 0))
    )
    with pytest.raises(InputError, match="number objects of one class, the network tells 3 apart"):
        train(CONFIG.replace(out_channels=3), SETTINGS, training, validation, tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_folder_is_told_as_it_was_asked_for(tmp_path):
    data = folder_of(tmp_path / "data", np.uint8, (0, 255))
    assert open_dataset(data).source == str(data)
