"""`unet evaluate`: arrays as image files, views, samples."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from unet_data import ObjectSettings, SurfaceScores, predict_image, write_stack
from unet_data.inference.views import augmented
from unet_data.metrics.evaluate import measure
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_spec.weights.ensemble import join
from unet_tools.arguments.data import open_data
from unet_tools.arguments.runtimes import open_network
from unet_tools.cli import main
from unet_tools.commands import evaluate
from unet_tools.prediction.object_scores import FoundObjects

from ...fixtures.pictures import GREY, LABELS, write

PAPER = preset("paper", widths=(2, 3, 4), dropout=0.0)


def test_evaluate_augmented_is_of_the_views_mean(data, tmp_path, capsys):
    checkpoint = tmp_path / "mixed"  # weights that predict each class for half of the pixels
    Checkpoint(PAPER, random_tensors(PAPER.graph, 5), DataSpec((0.5,), (0.2,))).save(checkpoint)
    network, dataset = open_network(checkpoint), open_data(str(data))
    plain = measure(network.runtime.run, network.config, network.data, dataset)
    views = augmented(network.runtime.run, "flips+turns")
    expected = measure(views, network.config, network.data, dataset, objects=True, warp=True)
    assert expected["dice"] != plain["dice"]
    assert main(["evaluate", str(checkpoint), str(data), "--augment", "flips+turns", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert {name: printed[name] for name in expected} == pytest.approx(expected, nan_ok=True)


def printed(capsys, *arguments):
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_samples_of_arrays(tmp_path, capsys):
    config = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)
    Checkpoint(config, random_tensors(config.graph, 0), DataSpec()).save(tmp_path / "net")
    paths = [write(tmp_path / kind, kind, GREY[:2], LABELS[:2]) for kind in ("png", "npy")]
    wanted, found = (printed(capsys, "evaluate", tmp_path / "net", path, "--samples", 2) for path in paths)
    assert [scores.pop("data") for _, scores in (wanted, found)] == [str(path) for path in paths]
    assert found == wanted
    assert "energy_distance" in found[1]


NARROW = preset("paper", widths=(2, 4), dropout=0.0)


def test_samples_are_of_their_own_seed(tmp_path, capsys, monkeypatch):
    """The use of --seed, without a network with a latent variable."""
    asked = []
    monkeypatch.setattr("unet_tools.commands.evaluate.measure_samples", lambda *a: asked.append(a[-2:]) or {})
    Checkpoint(NARROW, random_tensors(NARROW.graph, 0, np.float32), DataSpec((0.5,), (0.2,))).save(tmp_path / "ck")
    flags = ["--runtime", "jax", "--json", "--subset", "validation", "--samples", "3", "--seed", "9"]
    assert main(["evaluate", str(tmp_path / "ck"), "synthetic", *flags]) == 0
    capsys.readouterr()
    assert asked == [(3, 9)]


def test_three_equal_channels_through_a_network_of_grey(tmp_path, capsys):
    Checkpoint(NARROW, random_tensors(NARROW.graph, 0), DataSpec((0.5,), (0.2,))).save(tmp_path / "net")
    for name, repeats in (("grey", 1), ("equal", 3)):
        for folder, array in (("images", np.repeat(GREY[0], repeats, -1)), ("labels", LABELS[0][..., None])):
            (tmp_path / name / folder).mkdir(parents=True)
            write_stack(tmp_path / name / folder / "a.png", np.asarray(array, np.uint8)[None])
    _, grey = printed(capsys, "evaluate", tmp_path / "net", tmp_path / "grey")
    code, equal = printed(capsys, "evaluate", tmp_path / "net", tmp_path / "equal")
    assert code == 0
    assert equal["iou"] == grey["iou"]
    assert equal["decisions"] == ["three equal channels read as one: 1 of 1 images"]


def test_surface_scores_are_those_of_the_predicted_classes_and_their_unit_is_said(data, tmp_path, capsys):
    checkpoint = tmp_path / "mixed"
    Checkpoint(PAPER, random_tensors(PAPER.graph, 5), DataSpec((0.5,), (0.2,))).save(checkpoint)
    network, dataset = open_network(checkpoint), open_data(str(data))
    expected = SurfaceScores(dataset.class_names, 1.5)
    for image, label in zip(dataset.images, dataset.labels, strict=True):
        guess = predict_image(network.runtime.run, image, network.config, network.data).argmax(-1)
        expected.add(guess, label, (1, 1))
    assert main(["evaluate", str(checkpoint), str(data), "--surface", "1.5", "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["surface_unit"] == "pixels"
    assert {name: scores[name] for name in expected.scores} == pytest.approx(expected.scores)
    assert 0 < expected.scores["surface_dice"] < 1
    assert main(["evaluate", str(checkpoint), str(data), "--surface", "1.5"]) == 0
    assert "unit of the surface distances and of --surface 1.5: pixels" in capsys.readouterr().err


def test_images_without_a_pixel_size_are_said_to_be_measured_as_they_are(tmp_path, capsys):
    spec = DataSpec((0.5,), (0.2,), spacing=(2.0, 2.0), spacing_unit="mm")
    Checkpoint(NARROW, random_tensors(NARROW.graph, 0, np.float32), spec).save(tmp_path / "ck")
    data = write(tmp_path / "png", "png", GREY[:2], LABELS[:2])
    words = ["evaluate", str(tmp_path / "ck"), str(data), "--runtime", "onnx"]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.count("not resampled, since no pixel size is stated; the network expects pixels of 2 x 2 mm") == 1


@pytest.mark.parametrize(
    ("stored", "flags", "split"),
    [
        ({"settings": {"validate": "0.3", "group": "(.)"}}, (None, None), ("0.3", "(.)")),
        ({"settings": {"validate": "0.3", "group": "(.)"}}, ("first", None), ("first", "(.)")),
        ({"settings": {"validate": "0.3", "group": "(.)"}}, (None, "(..)"), ("0.3", "(..)")),
        ({"settings": {}}, (None, None), ("last", None)),  # of an earlier version, which knew no other split
        ({"other": 1}, (None, None), ("auto", None)),
        ({"settings": 3}, (None, None), ("auto", None)),
        (None, (None, "(.)"), ("auto", "(.)")),
    ],
)
def test_images_are_divided_as_in_the_run_of_the_checkpoint(stored, flags, split, tmp_path):
    if stored is not None:
        (tmp_path / "run.json").write_text(json.dumps(stored))
    args: Any = SimpleNamespace(checkpoint=tmp_path / "best", validate=flags[0], group=flags[1])
    assert evaluate._split(args) == split


@pytest.mark.parametrize(
    ("stored", "flags", "meaning", "said"),
    [
        (None, {}, ("auto", None, ""), []),
        ({}, {}, ("auto", None, ""), []),
        ({"class_numbers": "255,0"}, {}, ("auto", None, "255,0"), ["--class-numbers 255,0: as in training"]),
        ({"class_numbers": "255,0"}, {"class_numbers": ""}, ("auto", None, ""), []),
        ({"class_numbers": "7"}, {"labels": "instance"}, ("instance", None, ""), []),
        ({"labels": "instance", "class_numbers": "7"}, {"labels": "semantic"}, ("semantic", None, ""), []),
        *(
            (
                {"class_numbers": "255,0"},
                {"labels": kind},
                (kind, None, "255,0"),
                ["--class-numbers 255,0: as in training"],
            )
            for kind in ("semantic", "auto")
        ),
        (
            {"labels": "semantic", "ignore": 9},
            {"ignore": 8},
            ("semantic", 8, ""),
            ["--labels semantic: as in training"],
        ),
        ({"labels": "semantic", "ignore": 9}, {"labels": "auto"}, ("auto", 9, ""), ["--ignore 9: as in training"]),
    ],
)
def test_label_numbers_mean_what_they_meant_in_the_run_of_the_checkpoint(stored, flags, meaning, said, tmp_path):
    if stored is not None:
        (tmp_path / "run.json").write_text(json.dumps({"settings": stored}))
    texts = {name: str(value) for name, value in (stored or {}).items()} or None
    for data in (DataSpec(), DataSpec(labels=texts)):  # of an earlier version, whose run says it; and of this one
        args, lines = evaluate._labels_of_run(evaluate.Args(tmp_path / "best", "data", **flags), data)
        assert (args.labels, args.ignore, args.class_numbers) == meaning
        assert lines == said
        (tmp_path / "run.json").unlink(missing_ok=True)


def test_a_background_of_255_stays_one_after_training(tmp_path, capsys):
    Checkpoint(NARROW, random_tensors(NARROW.graph, 0, np.float32), DataSpec()).save(tmp_path / "best")
    data = write(tmp_path / "png", "png", GREY[:2], LABELS[:2])
    words = ["evaluate", tmp_path / "best", data, "--runtime", "onnx"]
    listed = printed(capsys, *words, "--class-numbers", "255,0")
    assert listed != printed(capsys, *words)
    (tmp_path / "run.json").write_text(json.dumps({"settings": {"class_numbers": "255,0"}}))
    assert printed(capsys, *words) == listed


def test_surface_scores_count_a_class_that_is_only_predicted(tmp_path, capsys):
    """A network of three classes on images whose labels have two of them."""
    config = preset("same", widths=(2, 4), out_channels=3)
    spec = DataSpec(class_names=("none", "cell", "edge"))
    tensors = random_tensors(config.graph, 0, np.float32)
    tensors[list(tensors)[-1]] = np.array([0, 0, 1e6], np.float32)  # edge everywhere
    Checkpoint(config, tensors, spec).save(tmp_path / "ck")
    data = write(tmp_path / "png", "png", GREY[:1], LABELS[:1])
    words = [str(tmp_path / "ck"), str(data), "--labels", "semantic", "--class-numbers", "0,255", "--surface", "1"]
    assert main(["evaluate", *words, "--json"]) == 0
    scores = json.loads(capsys.readouterr().out)
    assert scores["surface_dice edge"] == 0


def test_an_ensemble_has_no_validation_images_of_its_own(tmp_path, capsys):
    members = [Checkpoint(NARROW, random_tensors(NARROW.graph, seed, np.float32), DataSpec()) for seed in range(2)]
    data = write(tmp_path / "png", "png", GREY[:2], LABELS[:2])
    for count, warned in ((1, False), (2, True)):
        join(members[:count]).checkpoint.save(tmp_path / "ensemble")
        words = [str(tmp_path / "ensemble"), str(data), "--subset", "validation", "--runtime", "onnx"]
        assert main(["evaluate", *words]) == 0
        assert ("trained on each other's validation images" in " ".join(capsys.readouterr().err.split())) == warned


@pytest.mark.parametrize(("part", "numbers"), [(1, [0, 3]), (2, [1, 4]), (3, [2])])
def test_a_part_computes_every_third_image_and_counts_them(part, numbers, monkeypatch, capsys):
    given = []

    def compute(opened, chosen, samples, seed):
        given.append((opened, list(chosen), samples, seed))
        return [{"image": f"image {number}"} for number in given[-1][1]]

    monkeypatch.setattr(evaluate, "compute", compute)
    computed: Any = SimpleNamespace(dataset=range(5))
    args = evaluate.Args(Path("ck"), "data", shard=f"{part}/3", samples=2, seed=7)
    assert evaluate._shard(args, computed) == 0
    said = " ".join(capsys.readouterr().err.split())
    assert said.startswith(f"part {part} of 3: {len(numbers)} of 5 images computed; when all parts are done")
    assert evaluate._shard(evaluate.Args(Path("ck"), "data", shard=f"{part}/3", json=True), computed) == 0
    names = [f"image {number}" for number in numbers]
    assert json.loads(capsys.readouterr().out) == {"shard": f"{part}/3", "images": names}
    assert given == [(computed, numbers, 2, 7), (computed, numbers, 0, 0)]


def test_a_sequence_has_scores_but_no_report(monkeypatch, capsys):
    monkeypatch.setattr(evaluate, "challenge_scores", lambda *found: {"seg": 0.25, "missed": 3})
    args = evaluate.Args(Path("01_RES"), "01_GT", json=True)
    assert evaluate._sequence(args) == 0
    assert json.loads(capsys.readouterr().out) == {"result": "01_RES", "truth": "01_GT", "seg": 0.25, "missed": 3}
    with pytest.raises(InputError, match="--report needs a network and images"):
        evaluate._sequence(evaluate.Args(Path("01_RES"), "01_GT", report=Path("report")))


@pytest.mark.parametrize(
    ("stored", "choose", "origin"),
    [
        (None, False, "(the defaults; --choose-objects tunes them)"),
        ({"neck": 0.5}, False, "(stored with the network)"),
        (None, True, "(chosen on these 5 images (mean AP 0.2500) and stored in ck)"),
    ],
)
def test_the_settings_of_objects_are_printed_with_their_origin(stored, choose, origin, monkeypatch, capsys):
    settings = ObjectSettings(neck=0.75)
    found, kept, asked = FoundObjects([], {}, settings, 0.25 if choose else None), [], []
    monkeypatch.setattr(evaluate, "score_objects", lambda *given: asked.append(given[1:]) or found)
    monkeypatch.setattr(evaluate, "store_objects", lambda *given: kept.append(given))
    network: Any = SimpleNamespace(data=SimpleNamespace(objects=stored))
    run: Any = "run"
    dataset: Any = range(5)
    for as_json in (False, True):
        args = evaluate.Args(Path("ck"), "data", choose_objects=choose, json=as_json)
        assert evaluate._objects(args, network, run, dataset) is found
        said = " ".join(capsys.readouterr().err.split())
        expected = f"settings of the object separation: {settings.described()} {origin}"
        assert said == ("" if as_json else " ".join(expected.split()))
    assert kept == [(Path("ck"), settings)] * 2 * choose
    assert asked == [("run", range(5), choose)] * 2
