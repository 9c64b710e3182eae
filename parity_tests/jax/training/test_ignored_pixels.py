"""Ignored pixels are not counted anywhere: from the number in the mask files to the loss, the weights and the
commands."""

import json
import pickle
from dataclasses import replace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from unet_data import IGNORED, Dataset, Sampler, label_rule, membranes, open_dataset, open_stored, write_stack
from unet_data.datasets.border_weights import class_weights, weight_maps
from unet_data.datasets.check import check_dataset
from unet_data.datasets.window_weights import window_weights
from unet_data.metrics.evaluate import measure
from unet_export import BundleSettings, write_bundle
from unet_jax.losses import cross_entropy
from unet_jax.registry import create, from_pretrained
from unet_jax.runtime import JaxRuntime
from unet_jax.training.augmentation.augment import Augmentation, augment
from unet_jax.training.loop import train
from unet_jax.training.objective import loss_function
from unet_jax.training.settings import DataSettings, TrainSettings
from unet_spec import Checkpoint, InputError, preset
from unet_tools.cli import main

LOSSES = ("cross_entropy", "cross_entropy+dice", "dice", "focal", "tversky")
CONFIG = preset("paper", widths=(2, 4), dropout=0.0, padding="same")
MADE = membranes(6, 40, 0)
HOLES = np.random.default_rng(1).random((6, 10, 10)).repeat(4, 1).repeat(4, 2) < 0.2  # squares of 4 pixels
HOLES[4] = True  # an image without a pixel that counts
RAW = tuple(np.where(hole, 255, y).astype(np.uint8) for hole, y in zip(HOLES, MADE.labels, strict=True))


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("data")
    for name, arrays in (("images", MADE.images), ("labels", RAW)):
        (path / name).mkdir()
        for letter, array in zip("abcdef", arrays, strict=True):
            write_stack(path / name / f"{letter}.tif", array[None])
    return path


@pytest.fixture(scope="module")
def run(folder, tmp_path_factory):
    """A run of two steps with the command, without augmentation."""
    out = tmp_path_factory.mktemp("runs") / "run"
    config = out.with_name("network.json")
    config.write_text(json.dumps(CONFIG.to_dict()))
    flags = "--ignore 255 --steps 2 --batch 6 --tile 40 --log-every 1 --schedule constant --elastic 0 --rotation 0"
    flags += " --recipe none --no-mirror --contrast 0 --brightness 0 --loss cross_entropy+dice --balance"
    flags += " --no-report --json"
    assert main(["train", str(folder), "--out", str(out), "--config", str(config), *flags.split()]) == 0
    return out


def refused(function, *arguments, **named):
    with pytest.raises(InputError) as caught:
        function(*arguments, **named)
    assert "\n" not in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize(
    ("values", "dtype", "ignore", "kind", "expected"),
    [
        ((0, 1, 255), np.uint8, 255, "binary", (0, 1, -1)),
        ((0, 128, 255), np.uint8, 128, "binary", (0, -1, 1)),
        ((0, 1, 2, 255), np.uint8, 255, "semantic", (0, 1, 2, -1)),
        ((0, 1, 2, 255), np.float32, 255, "semantic", (0, 1, 2, -1)),
        ((0, 7, 0, 300, 65535), np.uint16, 65535, "instance", (0, 1, 0, 1, -1)),
        ((0, 5, 0, 9, 2**64 - 1), np.uint64, 2**64 - 1, "instance", (0, 1, 0, 1, -1)),
        ((0, 1), np.uint16, 300, "binary", (0, 1)),
    ],
)
def test_the_number_is_left_out_of_what_the_others_mean(values, dtype, ignore, kind, expected):
    raw, only = np.array([values], dtype), np.array([[ignore]], dtype)
    rule = label_rule([raw, only], ["a", "only ignored"], ignore=ignore)
    assert (rule.kind, rule.classes) == (kind, max(2, max(expected) + 1))
    found = rule.apply(raw)
    assert found.dtype == np.int32
    assert found.tolist() == [list(expected)]
    assert rule.numbers(raw).tolist() == [[0 if e == IGNORED else v for v, e in zip(values, expected, strict=True)]]


def test_what_is_refused_says_what_to_do(folder, tmp_path):
    a, b, void = np.array([[0, 1]], np.uint8), np.array([[0, 255]], np.uint8), np.array([[0, 1, 2, 255]], np.uint8)
    for raws, kind in (([void], "auto"), ([void], "semantic"), ([a, b], "auto"), ([a, void[:, [0, 1, 3]]], "auto")):
        assert "--ignore 255 (ignore=255 in Python)" in refused(label_rule, raws, ["a", "b"][: len(raws)], kind)
    assert "ignore is -1; it must not be negative" in refused(label_rule, [a], ["a"], ignore=-1)
    assert "ignore is -1; it must be a number, and not negative" in refused(DataSettings, ignore=-1)
    assert "every label of the data set is 255" in refused(label_rule, [b[:, 1:]], ["b"], ignore=255)
    data, settings = open_dataset(folder, ignore=255), TrainSettings().replace(steps=1, ignore=255)
    assert "-1, ignored pixels, only where" in refused(replace, data, ignore=None)
    assert "opened with ignore 255, but the settings have ignore None" in refused(
        train, CONFIG, TrainSettings().replace(steps=1), data, None, tmp_path / "x"
    )
    for parts in ((data.subset([4]), data), (data, data.subset([4, 4]))):
        assert "255 everywhere, which is ignored" in refused(train, CONFIG, settings, *parts, tmp_path / "x")


def masked(seed=0, images=1):
    rng = np.random.default_rng(seed)
    logits, labels = rng.normal(size=(images, 6, 7, 3)), rng.integers(0, 3, (images, 6, 7), np.int32)
    weights = rng.uniform(0.5, 2, labels.shape)
    return logits, np.where(rng.random(labels.shape) < 0.3, np.int32(IGNORED), labels), weights


@pytest.mark.parametrize("name", LOSSES)
def test_a_loss_is_that_of_the_pixels_that_count(name):
    logits, labels, weights = masked()
    kept = labels != IGNORED
    found, plain = (
        jax.jit(jax.value_and_grad(loss_function(TrainSettings().replace(loss=name, ignore=number))))
        for number in (255, None)
    )
    loss, grad = found(logits, labels, weights)
    wanted, of_kept = plain(logits[kept][None], labels[kept][None], weights[kept][None])
    np.testing.assert_allclose(loss, wanted, rtol=1e-12)
    np.testing.assert_allclose(grad[kept], of_kept[0], rtol=1e-9, atol=1e-15)
    assert (grad[~kept] == 0).all()
    none, grad = found(logits, np.full_like(labels, IGNORED), weights)
    assert none == 0
    assert (grad == 0).all()


def test_without_the_option_the_program_is_the_one_it_was():
    given = tuple(map(jnp.asarray, masked()))
    found = jax.make_jaxpr(loss_function(TrainSettings().replace(smoothing=0.1)))(*given)
    assert str(found) == str(jax.make_jaxpr(lambda z, y, w: cross_entropy(z, y, w, smoothing=0.1))(*given))
    other = jax.make_jaxpr(loss_function(TrainSettings().replace(smoothing=0.1, ignore=255)))(*given)
    assert str(found) != str(other)


def test_a_run_has_the_loss_computed_by_hand(folder, run):
    """The expected loss of the first step: weighted cross entropy and soft Dice of the initial network over the counted
    pixels."""
    settings = TrainSettings.from_dict(json.loads((run / "run.json").read_text())["settings"], "run.json")
    data = open_dataset(folder, ignore=255).subset(range(5))
    weights = [class_weights(data.labels, 2)[y] for y in data.labels]
    x, y, w = Sampler(data, (40, 40), (40, 40), 6, settings.optimisation.seed, weights).batch(0)
    pixels = np.concatenate([i.ravel() for i in data.images]) / 255
    z = create(CONFIG, settings.optimisation.seed)(jnp.asarray((x / 255 - pixels.mean()) / pixels.std(), jnp.float32))
    p = np.asarray(jax.nn.softmax(z.astype(jnp.float64)))
    kept = y >= 0
    right = np.take_along_axis(p, np.maximum(y, 0)[..., None], -1)[..., 0]
    entropy = -(np.log(right) * w)[kept].sum() / w[kept].sum()
    scores = []
    for image, truth, counted in zip(p, y, kept, strict=True):
        for k in (0, 1):
            if ((truth == k) & counted).any():
                t = truth[counted] == k
                scores.append(2 * image[counted][t, k].sum() / (image[counted][:, k].sum() + t.sum()))
    first = json.loads((run / "log.jsonl").read_text().splitlines()[0])
    assert first["loss"] == pytest.approx(entropy + 1 - np.mean(scores), rel=2e-5)
    assert 0.2 < 1 - kept.mean() < 0.9


@pytest.mark.slow
def test_a_run_remembers_the_number(folder, run, tmp_path, capsys):
    assert json.loads((run / "run.json").read_text())["settings"]["ignore"] == 255
    assert main(["train", "--out", str(run), "--resume", "--ignore", "None", "--json"]) == 2
    assert "0, 1, 255" in capsys.readouterr().err
    settings = TrainSettings.from_dict(json.loads((run / "run.json").read_text())["settings"], "run.json")
    other = replace(open_dataset(folder, ignore=255).subset(range(5)), ignore=254)
    printed = refused(train, CONFIG, settings.replace(ignore=254), other, None, run, resume=True)
    assert "was trained with ignore 255, not 254" in printed
    assert main(["train", str(folder), "--out", str(run), "--resume", "--steps", "3", "--no-report", "--json"]) == 0
    repeat = ["train", "--config", str(run / "run.json"), "--out", str(tmp_path / "again"), "--steps", "1"]
    assert main([*repeat, "--no-report", "--json"]) == 0
    logs = [(path / "log.jsonl").read_text().splitlines()[0] for path in (run, tmp_path / "again")]
    assert json.loads(logs[0])["loss"] == json.loads(logs[1])["loss"]


def test_files_give_the_batches_of_memory(folder):
    """Labels and weights, also if the labels number objects; the ignored number is not an object."""
    for kind in ("auto", "instance"):
        memory, stored = (opened(folder, 2, kind, 255) for opened in (open_dataset, open_stored))
        maps = [of(d, 10.0, 5.0, True) for of, d in ((weight_maps, memory), (window_weights, stored))]
        one, other = (
            Sampler(d, (30, 30), (12, 12), 9, 3, m).batch(0) for d, m in zip((memory, stored), maps, strict=True)
        )
        travelled = pickle.loads(pickle.dumps(stored.labels[0]))  # for the processes of a loader
        np.testing.assert_array_equal(travelled, memory.labels[0])
        for a, b in zip(one, other, strict=True):
            assert a.dtype == b.dtype
            np.testing.assert_array_equal(a, b)
        assert set(np.unique(one[1])) == {-1, 0, 1}
        if kind == "instance":
            assert max(np.asarray(cells).max() for cells in (*memory.instances, *stored.instances)) == 1


def test_no_warp_invents_or_loses_an_ignored_pixel():
    """Warped labels with ignored pixels equal warped labels in which these pixels are a separate class."""
    images = np.stack(MADE.images[:2]).astype(np.float32)
    labels = np.where(HOLES[:2], IGNORED, np.stack(MADE.labels[:2])).astype(np.int32)
    warp = jax.jit(lambda y: augment(jax.random.key(0), images, y, (24, 24), Augmentation(elastic=2.0))[1])
    found, wanted = warp(labels), warp(np.where(labels < 0, 2, labels).astype(np.int32))
    assert found.dtype == np.int32
    np.testing.assert_array_equal(found, np.where(wanted == 2, IGNORED, wanted))
    assert set(np.unique(found)) == {-1, 0, 1}


def test_weights_leave_ignored_pixels_out():
    label = np.array([[0, 0, 0, 1, -1, -1, -1, -1]], np.int32)
    np.testing.assert_allclose(class_weights([label], 2), [4 / 6, 4 / 2])
    cells = np.array([[1, 1, 0, 0, 0, 2, 0, 0]], np.int32)
    image = np.zeros((1, 8, 1), np.uint8)
    whole = Dataset((image,), ((cells > 0).astype(np.int32),), ("a",), ("0", "1"), "s", (cells,))
    data = replace(whole, labels=(np.where(np.arange(8) == 2, -1, whole.labels[0]).astype(np.int32),), ignore=255)
    (plain,), (found,) = (weight_maps(d, 10.0, 5.0, False) for d in (whole, data))
    assert found[0, 2] == 1  # neither a background with its border term nor the last class
    np.testing.assert_array_equal(np.delete(found, 2), np.delete(plain, 2))
    assert plain[0, 2] > 5


def test_the_check_of_data_tells_of_them(folder, capsys):
    assert main(["data", "check", str(folder)]) == 2
    printed = capsys.readouterr().err
    assert "--ignore 255" in printed
    assert len(printed.strip().splitlines()) == 1
    main(["data", "check", str(folder), "--ignore", "255", "--json"])
    printed = json.loads(capsys.readouterr().out)
    counts = [int(sum((raw == k).sum() for raw in RAW)) for k in (0, 1, 255)]
    assert printed["ignored"] == pytest.approx(counts[2] / sum(counts))
    assert list(printed["classes"].values()) == pytest.approx([k / sum(counts[:2]) for k in counts[:2]])
    assert [p["where"] for p in printed["problems"] if "every pixel of its label is ignored" in p["what"]] == ["e"]
    (lost,) = [p.what for p in check_dataset(replace(MADE, ignore=254)) if "254" in p.what]
    assert lost == "no pixel has the value 254 that is to be ignored"
    binary = Dataset(
        tuple(np.where(y == 0, 0, 200).astype(np.uint8)[..., None] for y in open_dataset(folder, ignore=255).labels),
        open_dataset(folder, ignore=255).labels, MADE.names, MADE.class_names, "s", ignore=255,
    )  # fmt: skip
    assert sum("are the same picture" in p.what for p in check_dataset(binary)) == 5


def test_the_commands_that_measure_take_the_number(folder, run, tmp_path, capsys):
    """By its flag, or as in training."""
    shown = ["evaluate", str(run / "best"), str(folder), "--runtime", "jax", "--json", "--subset", "validation"]
    last = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    for number in ([], ["--ignore", "255"]):
        assert main([*shown, *number]) == 0
        assert json.loads(capsys.readouterr().out)["iou"] in [record.get("iou") for record in last]
    assert main([*shown, "--ignore", "254"]) == 2


def test_the_check_of_a_bundle_takes_the_number(folder, run, tmp_path, capsys):
    bundle = write_bundle(Checkpoint.load(run / "best"), tmp_path / "bundle", BundleSettings((), engines=False))
    shown = ["check", str(bundle.folder), "--images", str(folder / "images" / "a.tif"), "--json"]
    shown += ["--labels", str(folder / "labels" / "a.tif")]
    assert main(shown) == 2
    assert "--ignore 255" in capsys.readouterr().err
    assert main([*shown, "--ignore", "255"]) == 0
    found = [f["dice"] for f in json.loads(capsys.readouterr().out)["findings"] if f["dice"] is not None]
    data = open_dataset(folder, ignore=255).subset([0])
    model = from_pretrained(run / "best")
    assert found[0] == pytest.approx(measure(JaxRuntime(model).run, CONFIG, model.data, data)["dice"], abs=1e-3)


def test_an_overlay_shows_no_error_there(folder, run):
    from unet_tools.training.loggers.overlay import Overlay

    data = open_dataset(folder, ignore=255).subset([5])
    shown = Overlay(run, data).draw()
    red = (shown == (220, 40, 40)).all(-1)
    assert red.any()
    assert not red[data.labels[0] < 0].any()
