"""The program that builds unet-weights, on a few small images: content, model cards, refusals."""

from __future__ import annotations

import dataclasses
import sys
import zipfile

import numpy as np
import pytest

from tools.weights import build
from tools.weights.recipes import network_of, parts_of, settings_of, train_run
from unet_data import membranes, write_stack
from unet_spec import Checkpoint
from unet_tools.arguments.data import open_data
from unet_tools.checking.findings import Finding


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Six images of each kind: RGB with numbered objects, and grey ones with two classes."""
    folder = tmp_path_factory.mktemp("weights")
    made = membranes(6, 48, 0)
    for kind in ("dsb2018", "isbi2012"):
        (folder / kind / "images").mkdir(parents=True)
        (folder / kind / "labels").mkdir()
    for number, (image, label) in enumerate(zip(made.images, made.labels, strict=True)):
        numbered = np.zeros(label.shape, np.uint16)
        for object_number, (row, column) in enumerate([(3, 4), (20, 9), (30, 30)], 1):
            numbered[row : row + 8, column : column + 9] = object_number
        bright = np.repeat((numbered > 0)[..., None] * np.uint8(150) + image // 8, 3, axis=-1)
        write_stack(folder / "dsb2018" / "images" / f"{number}.png", bright[None])
        write_stack(folder / "dsb2018" / "labels" / f"{number}.png", numbered[None])
        write_stack(folder / "isbi2012" / "images" / f"{number}.png", image[None])
        write_stack(folder / "isbi2012" / "labels" / f"{number}.png", (label[None] * 255).astype(np.uint8))
    return folder


@pytest.fixture(scope="module")
def runs(data, tmp_path_factory):
    """A finished run of each network, of one step."""
    folder = tmp_path_factory.mktemp("runs")
    for name, subject in build.SUBJECTS.items():
        dataset = open_data(str(data / subject.folder))
        train_run(parts_of(dataset), network_of(dataset, (2, 3)), settings_of(1, 0).replace(tile=20), folder / name)
    return folder


def call(monkeypatch, *arguments):
    monkeypatch.setattr(sys, "argv", ["build", *map(str, arguments)])
    return build.main()


def flags(runs, tmp_path):
    given = [f"--{name}={runs / name}" for name in build.SUBJECTS]
    return [*given, "--runs", tmp_path / "runs"]


@pytest.mark.slow
def test_two_runs_become_a_package_with_cards_and_no_image(data, runs, tmp_path, monkeypatch, capsys):
    assert call(monkeypatch, data, "-o", tmp_path / "dist", *flags(runs, tmp_path)) == 0
    wheel = tmp_path / "dist" / "unet_weights-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(wheel) as archive:
        names = [n for n in archive.namelist() if ".dist-info/" not in n]
        cards = {name: archive.read(f"unet_weights/{name}/README.md").decode() for name in build.SUBJECTS}
        archive.extractall(tmp_path / "site")
    files = ("README.md", "config.json", "model.safetensors")
    assert names == [
        "unet_weights/__init__.py",
        *(f"unet_weights/{n}/{f}" for n in sorted(build.SUBJECTS) for f in files),
    ]
    for name, card in cards.items():
        assert f'unet_torch.from_pretrained("{name}")' in card
        assert f"unet predict {name} image.png -o mask.png" in card
        assert "the first 4 trained, the next 1 chose the checkpoint, and the last 1 chose nothing" in card
        assert "python -m tools.weights.build" in card
        assert "Recipe modern, 1 steps, seed 0" in card
        assert "| jax | float64 |" in card
        assert "| torch | float64 |" in card
        packed, trained = (
            Checkpoint.load(p) for p in (tmp_path / "site" / "unet_weights" / name, runs / name / "best")
        )
        assert all(np.array_equal(packed.tensors[n], trained.tensors[n]) for n in trained.tensors)
        assert (packed.data.objects is None) == (name == "membranes")
    assert "Cardona" in cards["membranes"]
    assert "Arganda-Carreras" in cards["membranes"]
    assert "CC0-1.0" in cards["nuclei"]
    assert "| ap@0.50 |" in cards["nuclei"]
    assert "| v_rand |" in cards["membranes"]
    before = wheel.read_bytes()
    assert call(monkeypatch, data, "-o", tmp_path / "dist", *flags(runs, tmp_path)) == 0
    assert wheel.read_bytes() == before


@pytest.mark.slow
def test_without_runs_it_trains_and_goes_on_with_what_it_finds(data, runs, tmp_path, monkeypatch):
    monkeypatch.setattr(build, "settings_of", lambda steps, seed: settings_of(steps, seed).replace(tile=20))
    given = [f"--membranes={runs / 'membranes'}", "--runs", tmp_path / "runs", "--steps=1", "--widths", 2, 3]
    for version in ("1.0", "1.1"):  # the second time it is finished already
        assert call(monkeypatch, data, "-o", tmp_path / "dist", *given, "--version", version) == 0
    assert len(list((tmp_path / "dist").iterdir())) == 4
    found = Checkpoint.load(tmp_path / "runs" / "nuclei" / "best")
    assert found.config.widths == (2, 3)


@pytest.mark.slow
def test_a_network_that_is_not_the_same_everywhere_is_not_packed(data, runs, tmp_path, monkeypatch, capsys):
    bad = Finding("torch", "float32", worst_relative=0.1, bound=1e-5, ok=False)
    monkeypatch.setattr(build, "check_checkpoint", lambda checkpoint, images: [bad])
    assert call(monkeypatch, data, "-o", tmp_path / "dist", *flags(runs, tmp_path)) == 2
    assert "nuclei is not the same network in torch, float32: 0.1, at most 1e-05" in capsys.readouterr().err
    good = [dataclasses.replace(bad, ok=True), Finding("jax", "float32", note="not installed")]
    monkeypatch.setattr(build, "check_checkpoint", lambda checkpoint, images: good)
    assert call(monkeypatch, data, "-o", tmp_path / "dist", *flags(runs, tmp_path)) == 2
    assert "nuclei cannot be checked in jax: not installed" in capsys.readouterr().err
    assert not (tmp_path / "dist").exists()


REFUSED = {
    "a version": (["--version", "one"], "'one' is no version; write it as 0.1.0"),
    "a licence without its text": (["--licence", "CC0-1.0"], "give the text of CC0-1.0 by --licence-file"),
    "a text that is gone": (["--licence-file", "gone"], "cannot read gone: No such file"),
    "no run": (["--nuclei", "gone"], "gone is not a run folder"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_bad_input_is_one_line_and_writes_nothing(data, tmp_path, monkeypatch, capsys, what):
    asked, said = REFUSED[what]
    assert call(monkeypatch, data, "-o", tmp_path / "dist", "--runs", tmp_path / "runs", *asked) == 2
    lines = [line for line in capsys.readouterr().err.splitlines() if line.startswith("tools.weights.build: ")]
    assert len(lines) == 1
    assert said in lines[0]
    assert list(tmp_path.iterdir()) == []
