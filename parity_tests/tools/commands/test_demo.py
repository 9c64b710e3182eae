"""What the demo prints of its results, and the network that it takes for the data."""

import dataclasses
import json

import pytest

pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_tools.cli import main
from unet_tools.commands import demo
from unet_tools.training.demo import DemoResult

TILING = {
    "image_size": (90, 70), "tile": (28, 36), "tiles": 12, "exact": True,
    "worst_deviation": {"JAX": 1.25e-7, "ONNX": 3e-6}, "seconds": {"JAX": 1.0, "ONNX": 2.5},
}  # fmt: skip
SCORES = {"pixel_accuracy": 0.91, "baseline_pixel_accuracy": 0.8, "iou": 0.7, "dice": 0.6}


@pytest.fixture
def run(tmp_path, monkeypatch, capsys):
    """Runs the command with these results; returns the exit code, what was printed, and what the demo was given."""

    def one(*flags, **changes):
        result = DemoResult(
            tmp_path, tmp_path / "report.html", SCORES, [], TILING, {"a": 20.0, "b": 11.6}, True, "open it"
        )
        given = []

        def stub(*arguments):
            given.append(arguments)
            return dataclasses.replace(result, **changes)

        monkeypatch.setattr(demo, "run_demo", stub)
        code = main(["demo", "--out", str(tmp_path / "out"), *flags])
        return code, capsys.readouterr().out, given[0]

    return one


def test_each_number_is_the_one_that_its_words_say(run, tmp_path):
    code, printed, _ = run()
    words = " ".join(printed.split())
    assert code == 0
    assert "an image of 90x70 in 12 tiles of 28x36, compared with the whole image" in words
    rows = [line.split() for line in printed.splitlines()]
    assert ["JAX", "1.2e-07", "1.0"] in rows
    assert ["ONNX", "3.0e-06", "2.5"] in rows
    assert "pixel accuracy 0.9100 (calling all one class: 0.8000), IoU 0.7000, Dice 0.6000" in words
    assert f"32 s in all; look at {tmp_path / 'report.html'}" in words.replace("\n", "")
    assert "open it" in words
    assert words.endswith("all proofs hold")
    assert "approximate" not in words


def test_a_proof_that_fails_is_the_last_word_and_the_exit_code(run):
    code, printed, _ = run(passed=False, tiling=TILING | {"exact": False})
    assert code == 1
    assert printed.strip().endswith("a proof FAILED")
    assert "each output depends on the whole image in this network, so tiled results are approximate" in printed


def test_as_json(run):
    code, printed, _ = run("--json", passed=False)
    assert code == 1
    found = json.loads(printed)
    assert (found["scores"], found["passed"], found["tiling"]["tiles"]) == (SCORES, False, 12)


@pytest.mark.parametrize(
    ("flags", "widths", "every"), [(["--steps", "50"], None, 10), (["--steps", "3", "--widths", "2", "4"], (2, 4), 1)]
)
def test_network_and_steps_follow_the_flags_and_the_data(run, flags, widths, every):
    _, _, (dataset, config, settings, *_) = run(*flags, "--seed", "5")
    assert (config.in_channels, config.out_channels) == (dataset.channels, 2)
    assert widths is None or config.widths == widths
    assert (settings.optimisation.seed, settings.validation.validate_every) == (5, every)
    assert settings.optimisation.steps == int(flags[1])
