"""`unet predict --runtime auto`, with given measurements."""

import json

import numpy as np
import pytest

from unet_data import PredictSettings, ReadSettings
from unet_data.inference.predict_file import Progress
from unet_data.inference.views import PAPER_ROTATIONS
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_spec.tiling.planner import Limits
from unet_tools.arguments.runtimes import open_network
from unet_tools.cli import main
from unet_tools.prediction.runtimes import command
from unet_tools.prediction.runtimes.choice import Choice

pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
CONFIG = preset("same", widths=(2, 4))


@pytest.fixture
def home(tmp_path, monkeypatch):
    """The current directory, with a network ck/ and an image a.npy."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("UNET_CACHE", str(tmp_path / "cache"))
    Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0, np.float32), DataSpec()).save("ck")
    np.save("a.npy", np.random.default_rng(0).integers(0, 255, (70, 90), np.uint8))
    return tmp_path


def predict(capsys, *more):
    code = main(["predict", "ck", "a.npy", "-o", "o.npy", *more])
    printed = capsys.readouterr()
    return code, json.loads(printed.out) if printed.out else printed.err


def test_little_work_takes_the_default_and_says_so(home, capsys):
    assert predict(capsys, "--runtime", "onnx")[0] == 0
    expected = (home / "o.npy").read_bytes()
    code, printed = predict(capsys, "--runtime", "auto", "--overwrite")
    assert code == 0
    assert printed.count("runtime: onnx (the default; too little work to measure others; --runtime NAME") == 1
    assert (home / "o.npy").read_bytes() == expected
    _, found = predict(capsys, "--runtime", "auto", "--overwrite", "--json")
    assert (found["runtime"], found["choice"]["how"], found["choice"]["name"]) == ("onnx", "little work", "onnx")
    assert "choice" not in predict(capsys, "--runtime", "onnx", "--overwrite", "--json")[1]


def test_the_chosen_runtime_computes(home, capsys, monkeypatch):
    works = []

    def choose(path, reference, work):
        works.append(work)
        return Choice("torch", "onnx", "measured earlier", {}, {})

    monkeypatch.setattr(command, "choose", choose)
    monkeypatch.setattr(Choice, "describe", lambda self: f"runtime: {self.name}")
    code, found = predict(capsys, "--runtime", "auto", "--augment", "flips", "--tile", "64", "--json")
    assert (code, found["runtime"], found["choice"]["name"]) == (0, "torch", "torch")
    once = found["images"][0]["tiles"] * sum(CONFIG.graph.macs(tuple(found["images"][0]["tile"])).values())
    assert works[0].macs == 4 * once  # the four views of --augment flips
    assert works[0].tile == tuple(found["images"][0]["tile"])
    assert works[0].window((32, 48)).shape == (1, 32, 48, 1)
    predict(capsys, "--runtime", "torch", "--augment", "flips", "--tile", "64", "--json", "--overwrite")
    assert predict(capsys, "--runtime", "auto", "--overwrite")[1].count("runtime: torch\n") == 1


def test_an_unfinished_result_keeps_its_runtime(home, capsys, monkeypatch):
    monkeypatch.setattr(command, "choose", None)  # never called
    flags = ("--tile", "48", "--output", "logits")
    assert predict(capsys, "--runtime", "torch", "--shard", "1/2", *flags)[0] == 0
    code, found = predict(capsys, "--runtime", "auto", "--json", *flags)
    assert (code, found["runtime"], found["choice"]["how"]) == (0, "torch", "begun")
    assert (found["choice"]["name"], found["choice"]["reference"]) == ("torch", "onnx")
    assert found["images"][0]["computed"] < found["images"][0]["tiles"]
    predict(capsys, "--runtime", "torch", "--shard", "1/2", "--overwrite", *flags)
    printed = predict(capsys, "--runtime", "auto", "--overwrite", *flags)[1]
    assert "runtime: torch (an unfinished result was begun with it; --runtime NAME chooses another)" in printed


def test_two_processes_that_choose_at_the_same_time_use_one_runtime(home, capsys):
    """The other process started between the choice and the work."""
    flags = ("--tile", "48", "--output", "logits")
    assert predict(capsys, "--runtime", "torch", "--shard", "1/2", *flags)[0] == 0
    network = open_network(home / "ck", "onnx")
    settings = PredictSettings("logits", tile=48)
    done = command.predict_as_begun(network, home / "ck", home / "a.npy", home / "o.npy", settings, Progress())
    assert 0 < done.computed < done.tiles
    alone = np.load(home / "o.npy")
    predict(capsys, "--runtime", "torch", "--overwrite", *flags)
    np.testing.assert_array_equal(np.load(home / "o.npy"), alone)


def test_images_that_cannot_be_read_do_not_stop_the_choice(home, capsys):
    network = open_network(home / "ck", "onnx")
    (home / "bad.npy").write_bytes(b"no array")
    files = [(home / name, home / f"{name}-out.npy") for name in ("bad.npy", "a.npy")]
    settings = PredictSettings()
    work, alone = (command.work_of(network, each, settings) for each in (files, files[1:]))
    assert work is not None
    assert alone is not None
    assert work.macs == 2 * alone.macs
    assert command.work_of(network, files[:1], settings) is None
    assert command.chosen_network(home / "ck", network, files[:1], settings) == (
        network,
        Choice("onnx", "onnx", "little work"),
    )
    np.save(home / "a.npy", np.full((70, 90), np.nan, np.float32))
    unsound = command.work_of(network, files, settings)
    assert unsound is not None
    assert np.isfinite(unsound.window((32, 32))).all()


def test_what_auto_cannot_do_is_refused_in_one_line(home, capsys):
    code, printed = predict(capsys, "--runtime", "auto", "--strips")
    assert (code, "--strips runs in torch or jax only: leave out --runtime auto" in printed) == (2, True)


def test_a_bundle_chooses_among_its_own(home, capsys, monkeypatch):
    assert main(["export", "ck", "-o", "bundle"]) == 0
    capsys.readouterr()
    monkeypatch.setattr(command, "choose", lambda *args: Choice("onnx", "onnx", "little work"))
    assert main(["predict", "bundle", "a.npy", "-o", "b.npy", "--runtime", "auto", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["runtime"] == "onnx"


@pytest.mark.parametrize(
    ("begun", "expected"), [(None, None), ("onnx", "onnx"), ("torch", "torch"), ("mnn-fast", None), ("caffe", None)]
)
def test_a_result_that_was_begun_with_an_exact_runtime_is_continued_with_it(begun, expected, monkeypatch, tmp_path):
    monkeypatch.setattr(command, "begun_with", lambda target: begun)
    assert command._begun(tmp_path / "o.npy") == expected


@pytest.mark.parametrize(
    ("changes", "times"),
    [
        ({}, 1),
        ({"augment": "flips"}, 4),
        ({"augment": "flips+turns"}, 8),
        ({"augment": "rotations"}, len(PAPER_ROTATIONS)),
        ({"shard": (2, 3)}, 1 / 3),
    ],
)
def test_the_work_is_that_of_all_views_and_of_its_own_part(changes, times, home):
    network = open_network(home / "ck", "onnx")
    files = [(home / "a.npy", home / "o.npy")]
    once, more = (command.work_of(network, files, PredictSettings(tile=64, **each)) for each in ({}, changes))
    assert once is not None
    assert more is not None
    assert more.macs == pytest.approx(times * once.macs)
    assert (once.samples, more.tile) == (False, (64, 64))


def test_samples_memory_and_reading_reach_the_work(home, monkeypatch):
    asked = []
    original = command.open_pictures

    def opened(*given, settings):
        asked.append((*given, settings))
        return original(*given, settings=settings)

    limits, plan = [], command.plan_tiled
    monkeypatch.setattr(command, "plan_tiled", lambda *given: limits.append(given[-1]) or plan(*given))
    monkeypatch.setattr(command, "open_pictures", opened)
    network, reading = open_network(home / "ck", "onnx"), ReadSettings(orientation="ignore")
    files = [(home / "a.npy", home / "o.npy")]
    work = command.work_of(network, files, PredictSettings(samples=3, reading=reading, halo=0, tile=48))
    assert work is not None
    assert work.samples
    assert asked == [(home / "a.npy", 2, 1, reading)]
    exact = command.work_of(network, files, PredictSettings(tile=48, memory=2**36))
    assert exact is not None
    assert limits == [Limits(None, tile=(48, 48), halo=0), Limits(2**36, tile=(48, 48), halo=None)]
    assert exact.macs > work.macs  # without a halo, fewer tiles
    image = np.load(home / "a.npy").astype(np.float32)
    np.testing.assert_allclose(work.window((16, 32))[0, ..., 0], image[:16, :32] / 255, atol=1e-6)
