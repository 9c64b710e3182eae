"""The choice of a runtime, with stubs for measurements."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from unet_data import OpenNetwork
from unet_spec import DataSpec, InputError, preset
from unet_spec.tiling.tiles import minimum_tile
from unet_tools.prediction.runtimes import cache, choice
from unet_tools.prediction.runtimes.choice import Work, choose, measured_size
from unet_tools.prediction.runtimes.trial import TooSlowError, Trial

CONFIG = preset("same", widths=(2, 4))
LOGITS = np.linspace(-1, 1, 50, dtype=np.float32).reshape(1, 5, 5, 2)


class Onnx:
    name, config = "onnx", CONFIG

    def run(self, x):
        raise AssertionError("only measured runtimes run")


class Trials:
    """Stub for measurements: seconds per run, error and preparation time of each runtime; exceptions are raised."""

    def __init__(self, **runtimes):
        self.runtimes = {"onnx": (1.0, 0.0, 1.0)} | runtimes
        self.asked = []

    def __call__(self, path, name, x, limit):
        assert x.dtype == np.float32
        self.asked.append(name)
        found = self.runtimes[name]
        if isinstance(found, Exception):
            raise found
        seconds, error, prepare = found
        if prepare > limit:
            raise TooSlowError("too slow")
        return Trial(prepare, seconds, LOGITS * np.float32(1 + error))


@pytest.fixture
def here(tmp_path, monkeypatch):
    """A machine with onnx, openvino, mnn and jax, on which one core computes a tile in a second."""
    monkeypatch.setenv("UNET_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(choice, "is_checkpoint", lambda path: True)
    monkeypatch.setattr(choice, "installed", lambda name: name != "torch")
    monkeypatch.setattr(choice, "usable_cores", lambda: 1)
    monkeypatch.setattr(choice, "EXPECTED", float(sum(CONFIG.graph.macs((32, 32)).values())))
    monkeypatch.setattr(choice, "TILE_SECONDS", 1.0)
    network = OpenNetwork(Onnx(), DataSpec(), tmp_path / "weights")

    def run(trials, tiles=1000.0, network=network, samples=False):
        macs = tiles * choice.EXPECTED
        work = Work((32, 32), macs, lambda size: np.zeros((1, *size, 1), np.float32), samples)
        return choose(Path("weights"), network, work, trials)

    return run


def test_the_fastest_exact_runtime_is_chosen_and_an_inexact_or_missing_one_is_not(here):
    trials = Trials(openvino=(0.5, 4e-6, 1.0), mnn=(0.1, 5e-5, 1.0), jax=(0.7, 1e-6, 1.0))
    found = here(trials)
    assert (found.name, found.reference, found.how) == ("openvino", "onnx", "measured now")
    assert trials.asked == ["onnx", "openvino", "mnn", "jax"]
    line = "runtime: openvino, 2.0 times as fast as onnx (measured now; --runtime NAME chooses another)"
    assert found.describe() == line
    assert found.remark().count("torch: not installed (pip install 'unet-twins[torch]')") == 1
    assert "mnn: differs by 5.0e-05 of the largest logit, above 1e-05" in found.remark()
    assert found.to_dict()["measured"]["openvino"]["error"] == pytest.approx(4e-6, rel=0.1)
    assert set(found.measured) == {"onnx", "openvino", "jax"}


def test_the_cache_says_so_and_a_damaged_one_is_measured_anew(here, tmp_path):
    trials = Trials(openvino=(0.5, 0.0, 1.0), mnn=(0.6, 0.0, 1.0), jax=(0.7, 0.0, 1.0))
    first = here(trials)
    again = here(Trials())
    assert (again.name, again.how, again.remark()) == ("openvino", "measured earlier", "")
    assert again.describe().startswith("runtime: openvino, 2.0 times as fast as onnx (measured earlier;")
    assert again.measured == first.measured
    (file,) = (tmp_path / "cache" / "runtimes").iterdir()
    whole = file.read_text()
    changed = whole.replace('"error": 0.0', '"error": 1e-6')
    for damaged in ("", "{", "[1]", whole[:-20], whole.replace('"jax": {', '"mnn": {'), changed):
        assert damaged != whole
        file.write_text(damaged)
        trials.asked.clear()
        assert here(trials).how == "measured now"
        assert trials.asked == ["onnx", "openvino", "mnn", "jax"]
        assert file.read_text() == whole


def test_other_weights_machines_and_versions_are_measured_anew(here, tmp_path, monkeypatch):
    trials = Trials(openvino=(0.5, 0.0, 1.0), mnn=(0.6, 0.0, 1.0), jax=(0.7, 0.0, 1.0))
    network = OpenNetwork(Onnx(), DataSpec(), tmp_path / "a")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "config.json").write_text("{}")
    here(trials, network=network)
    assert here(trials, network=network).how == "measured earlier"
    (tmp_path / "a" / "config.json").write_text("{ }")
    assert here(trials, network=replace(network)).how == "measured now"
    monkeypatch.setattr(cache, "hardware", lambda: "another processor, 1 cores, no GPU")
    assert here(trials, network=replace(network)).how == "measured now"
    monkeypatch.setattr(cache, "versions", lambda packages: {"openvino": "2030.1"})
    assert here(trials, network=replace(network)).how == "measured now"


def test_nothing_is_measured_for_little_work_but_a_cache_is_used(here):
    trials = Trials(openvino=(0.5, 0.0, 1.0), mnn=(0.6, 0.0, 1.0), jax=(0.7, 0.0, 1.0))
    found = here(trials, tiles=19.0)
    assert (found.name, found.how, trials.asked) == ("onnx", "little work", [])
    assert "the default; too little work to measure others" in found.describe()
    here(trials)
    assert here(Trials(), tiles=19.0).name == "openvino"
    assert here(Trials(), tiles=1.0).name == "onnx"  # it would be done before openvino is ready


def test_a_reference_that_is_faster_than_expected_ends_the_measurement(here):
    trials = Trials(onnx=(0.01, 0.0, 1.0))
    assert here(trials, tiles=100.0).how == "little work"
    assert trials.asked == ["onnx"]


def test_a_runtime_that_compiles_longer_than_it_saves_is_not_chosen(here):
    trials = Trials(openvino=(0.9, 0.0, 5.0), mnn=(0.95, 0.0, 1.0), jax=(0.5, 0.0, 30.0))
    found = here(trials, tiles=100.0)
    assert found.name == "onnx"  # mnn and openvino gain less than GAIN; jax was not ready in a quarter of 90 s
    assert found.passed_over["jax"] == "not ready after 22 s, too late for this work"
    more = here(trials, tiles=500.0)
    assert trials.asked[4:] == [
        "onnx",
        "jax",
    ]  # measured again, since it may now be faster; onnx computes the logits for comparison
    assert more.name == "jax"
    assert here(Trials(), tiles=30.0).name == "onnx"  # 15 s of work, and 30 of compiling


def test_a_gain_within_the_noise_keeps_the_default(here):
    found = here(Trials(openvino=(0.95, 0.0, 0.0), mnn=(1.0, 0.0, 0.0), jax=(2.0, 0.0, 0.0)))
    assert found.name == "onnx"
    assert found.describe().startswith("runtime: onnx, which finishes first of onnx, openvino, mnn, jax (measured now;")


def test_what_fails_or_is_not_finite_is_passed_over(here):
    failed = Trials(openvino=InputError("its process ended with exit code -9"), mnn=(0.1, np.nan, 1.0), jax=(2, 0, 1))
    found = here(failed)
    assert found.name == "onnx"
    assert found.passed_over["openvino"] == "its process ended with exit code -9"
    assert "not finite" in found.passed_over["mnn"]
    failed.asked.clear()
    assert here(failed).passed_over == found.passed_over
    assert failed.asked == []


def test_noise_and_volumes_have_fewer_candidates(here, monkeypatch):
    drawn = here(Trials(jax=(0.5, 0.0, 1.0)), samples=True)
    assert drawn.name == "jax"
    assert drawn.passed_over["openvino"] == drawn.passed_over["mnn"] == "has no noise input for --samples"
    volumes = OpenNetwork(type("Deep", (Onnx,), {"config": CONFIG.replace(spatial_dims=3)})(), DataSpec())
    names, passed_over = choice.candidates(volumes, checkpoint=True, samples=False)
    assert "mnn" not in names
    assert passed_over["mnn"] == "2-D networks only"
    assert choice.candidates(volumes, checkpoint=False, samples=False)[0] == ["openvino", "tensorrt"]
    monkeypatch.setattr(choice, "installed", lambda name: name == "onnx")
    alone = here(Trials())
    assert (alone.name, alone.how) == ("onnx", "only one")
    assert "the only exact one that runs here" in alone.describe()


def test_a_cache_that_cannot_be_written_costs_nothing_but_time(here, tmp_path):
    (tmp_path / "cache").write_text("a file, not a folder")
    trials = Trials(openvino=(0.5, 0.0, 1.0), mnn=(0.6, 0.0, 1.0), jax=(0.7, 0.0, 1.0))
    assert here(trials).name == here(trials).name == "openvino"


def test_the_measured_tile_is_the_plans_or_a_smaller_one_on_the_grid():
    geometry = preset("paper", widths=(2, 4)).geometry
    macs = sum(geometry.graph.macs((200, 300)).values())
    assert measured_size(geometry, (200, 300), macs) == (200, 300)
    size = measured_size(geometry, (200, 300), macs / 4)
    geometry.check(size)
    assert macs / 10 < sum(geometry.graph.macs(size).values()) <= macs / 4
    assert measured_size(geometry, (200, 300), 1.0) == (minimum_tile(geometry), minimum_tile(geometry))


@pytest.mark.parametrize(
    ("macs", "expected"),
    [(109.0, "onnx"), (111.0, "torch"), (1e6, "torch")],
)
def test_another_runtime_must_be_ready_and_faster_by_a_tenth(macs, expected):
    """For 110 units of work: 110 s, or 45 s to prepare and 55 s."""
    exact = {"onnx": cache.Measured(999.0, 1.0, 0.0), "torch": cache.Measured(45.0, 2.0, 0.0)}
    assert choice.first_to_finish(exact, "onnx", macs) == expected
    equal = {"onnx": cache.Measured(0.0, 1.0, 0.0), "torch": cache.Measured(0.0, 1.09, 0.0)}
    assert choice.first_to_finish(equal, "onnx", macs) == "onnx"
    equal["torch"] = cache.Measured(0.0, 1.11, 0.0)
    assert choice.first_to_finish(equal, "onnx", macs) == "torch"


def test_what_is_assumed_of_a_machine():
    assert (choice.WORTH, choice.READY, choice.GAIN, choice.LONGEST) == (20.0, 0.25, 1.1, 600.0)


@pytest.mark.parametrize("tiles", [19.99, 20.0])
def test_twenty_seconds_of_work_are_worth_a_measurement(here, tiles):
    trials = Trials(openvino=(0.5, 0.0, 1.0), mnn=(0.6, 0.0, 1.0), jax=(0.7, 0.0, 1.0))
    assert bool(here(trials, tiles=tiles).measured) == (tiles == 20.0)


def test_the_limits_of_the_trials(here):
    limits = {}

    class Limits(Trials):
        def __call__(self, path, name, x, limit):
            limits[name] = limit
            return super().__call__(path, name, x, limit)

    here(Limits(openvino=(0.5, 0.0, 1.0), mnn=(0.1, 5e-5, 1.0), jax=(0.7, 0.0, 1.0)), tiles=100.0)
    assert limits == {"onnx": 600.0, "openvino": 25.0, "mnn": 12.5, "jax": 12.5}  # of the fastest exact one so far


@pytest.mark.parametrize(
    ("values", "allowed"),
    [
        ((0.0, 1e-9, 0.0), True), ((-1e-9, 1.0, 0.0), False), ((0.0, 0.0, 0.0), False), ((0.0, 1.0, -1e-9), False),
        ((True, 1.0, 0.0), False), (("1", 1.0, 0.0), False), ((0.0, float("inf"), 0.0), False), ((1, 2, 0), True),
    ],
)  # fmt: skip
def test_a_measurement_in_the_cache_is_a_sound_number(values, allowed):
    if allowed:
        assert cache.Measured(*values).rate == values[1]
    else:
        with pytest.raises(ValueError, match=r"a finite number|cannot be negative"):
            cache.Measured(*values)
