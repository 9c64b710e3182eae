"""`unet predict`: stacks, bundles, volumes."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from unet_data import read_labels, read_stack, write_stack
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main
from unet_tools.prediction.targets import result_name


@pytest.mark.parametrize("runtime", ["jax", "torch", "onnx"])
def test_a_stack_in_gives_a_stack_out(checkpoint, tmp_path, runtime, capsys):
    stack = np.random.default_rng(0).integers(0, 255, (3, 37, 41, 1), dtype=np.uint8)
    write_stack(tmp_path / "in.tif", stack)
    out = tmp_path / f"{runtime}.tif"
    assert main(["predict", str(checkpoint), str(tmp_path / "in.tif"), "-o", str(out), "--runtime", runtime]) == 0
    found = read_stack(out)
    assert found.shape == (3, 37, 41, 1)
    assert set(np.unique(found)) <= {0, 1}
    flags = ["--output", "probabilities", "--tile", "64", "--overwrite"]
    assert main(["predict", str(checkpoint), str(tmp_path / "in.tif"), "-o", str(out), *flags]) == 0
    p = read_stack(out)
    assert p.dtype == np.float32
    assert np.array_equal(p > 0.5, found > 0)


def test_export_then_check_and_predict_from_the_bundle(checkpoint, tmp_path, capsys):
    bundle = tmp_path / "bundle"
    assert main(["export", str(checkpoint), "-o", str(bundle), "--json"]) == 0
    capsys.readouterr()
    assert main(["check", str(bundle), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["passed"]
    write_stack(tmp_path / "in.png", np.zeros((1, 40, 40, 1), np.uint8))
    assert main(["predict", str(bundle), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png")]) == 0
    assert (
        main(["predict", str(bundle), str(tmp_path / "in.png"), "-o", str(tmp_path / "o.png"), "--runtime", "jax"]) == 2
    )


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
        assert ("a single plane, but the network takes volumes" in capsys.readouterr().err) == warned


def test_a_folder_of_images_gives_one_line_with_the_share_of_each_class(checkpoint, tmp_path, capsys):
    (tmp_path / "in").mkdir()
    for name in "abc":
        write_stack(tmp_path / "in" / f"{name}.png", np.full((1, 40, 40, 1), 90, np.uint8))
    rest = ["-o", str(tmp_path / "out"), "--overlay"]
    assert main(["predict", str(checkpoint), str(tmp_path / "in"), *rest]) == 0
    printed = capsys.readouterr().err.splitlines()
    assert [line for line in printed if "→" in line] == [printed[-1]]
    assert printed[-1].startswith(f"3 of 3 images → {tmp_path / 'out'} (")
    shares = np.bincount(read_labels(tmp_path / "out" / "b.png").ravel(), minlength=2) / 1600
    assert f"{shares[1]:.1%}" in printed[-1]
    names = sorted(path.name for path in (tmp_path / "out").iterdir())
    assert names == [f"{name}{ending}.png" for name in "abc" for ending in ("-overlay", "")]


def test_an_overlay_replaces_nothing_unasked(checkpoint, tmp_path, capsys):
    image, kept = tmp_path / "in.png", tmp_path / "out-overlay.png"
    write_stack(image, np.full((1, 40, 40, 1), 90, np.uint8))
    kept.write_text("mine")
    command = ["predict", str(checkpoint), str(image), "-o", str(tmp_path / "out.png"), "--overlay"]
    assert main(command) == 2
    assert f"{kept} exists" in capsys.readouterr().err
    assert kept.read_text() == "mine"
    assert not (tmp_path / "out.png").exists()
    assert main([*command, "--overwrite"]) == 0
    assert kept.read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("image", "result"),
    [("a.tif", "a.tif"), ("a.JPG", "a.png"), ("a.bmp", "a.png"), ("a.nii.gz", "a.nii.gz"), ("a.svs", "a.tif")],
)
def test_results_in_a_folder_have_an_ending_that_can_be_written(image, result):
    assert result_name(Path(image)) == result
