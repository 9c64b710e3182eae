"""`unet predict`: stacks, bundles, volumes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from unet_data import FileFacts, read_labels, read_stack, write_stack
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.cli import main
from unet_tools.commands import predict
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


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--overlay", "--output", "logits"), "--overlay needs --output labels"),
        (("--object-settings", "neck=0.8"), "--object-settings needs --output objects"),
        (("--slurm", "job.sh", "--shard", "1/2"), "give only one of --slurm, --shard and --dask"),
        (("--slurm", "job.sh", "--dask", "local"), "give only one of --slurm, --shard and --dask"),
        (("--shard", "3/2"), "--shard 3/2 is not a part"),
    ],
)
def test_options_that_do_not_go_together_are_refused(words, message, checkpoint, tmp_path, capsys):
    write_stack(tmp_path / "in.png", np.full((1, 40, 40, 1), 90, np.uint8))
    command = ["predict", str(checkpoint), str(tmp_path / "in.png"), "-o", str(tmp_path / "out.png"), *words]
    assert main(command) == 2
    assert message in " ".join(capsys.readouterr().err.split())
    assert [path.name for path in tmp_path.iterdir()] == ["in.png"]


@pytest.mark.parametrize(
    ("shard", "expected"),
    [
        ("1/2", [("a", None), ("c", None)]), ("2/2", [("b", None)]), ("3/3", [("c", None)]),
        ("2/4", [("a", (2, 4)), ("b", (2, 4)), ("c", (2, 4))]), ("1/1", [(name, (1, 1)) for name in "abc"]),
    ],
)  # fmt: skip
def test_several_images_are_divided_and_few_are_computed_in_parts(shard, expected, checkpoint, tmp_path, monkeypatch):
    """Images are divided if each part has one; otherwise each part has tiles of all images."""
    given = []

    def one(network, source, target, settings, progress):
        given.append((source.stem, settings.shard))
        return SimpleNamespace(finished=True, facts=FileFacts())

    record = {"image": "a", "out": "o", "shape": [3], "seconds": 1.0, "megapixels_per_second": 1.0, "finished": True}
    monkeypatch.setattr(predict, "predict_file", one)
    monkeypatch.setattr(predict, "check_prediction", lambda *_: None)
    monkeypatch.setattr(predict, "image_record", lambda *_: record | {"classes": {}})
    monkeypatch.setattr(predict, "images_at_a_time", lambda *_: 1)
    for name in "abc":
        write_stack(tmp_path / f"{name}.png", np.full((1, 40, 40, 1), 90, np.uint8))
    images = [str(tmp_path / f"{name}.png") for name in "abc"]
    assert main(["predict", str(checkpoint), *images, "-o", str(tmp_path / "out"), "--shard", shard]) == 0
    assert given == expected


@pytest.mark.parametrize(
    ("images", "jobs", "flags", "skips", "joined"),
    [
        (3, 3, {}, True, False), (2, 3, {}, False, True), (4, 3, {"overwrite": True}, False, False),
        (5, 1, {}, False, True), (2, 3, {"skip_existing": True}, True, True),
    ],
)  # fmt: skip
def test_a_job_array_of_whole_images_skips_what_is_done(images, jobs, flags, skips, joined, monkeypatch):
    """A job that starts again does not compute its images twice; parts of images are joined in the end."""
    given = []
    monkeypatch.setattr(predict, "write_jobs", lambda *found: given.append(found) or [])
    args = predict.Args(Path("ck"), (Path("a.png"),), Path("out"), slurm=Path("job.sh"), jobs=jobs, **flags)
    assert predict._write_slurm(args, images) == 0
    ((path, words, parts, joins),) = given
    assert (path, parts, joins) == (Path("job.sh"), jobs, joined)
    assert ("--skip-existing" in words) == skips
    assert ("--overwrite" in words) == ("overwrite" in flags)
    assert words[:4] == ["unet", "predict", "ck", "a.png"]
    assert not {"--slurm", "--jobs"} & set(words)


def test_an_overlay_is_neither_an_input_nor_an_existing_file(tmp_path):
    free, taken = tmp_path / "a-overlay.png", tmp_path / "b-overlay.png"
    taken.write_text("x")
    predict._check_overlays([free], [taken], False)
    with pytest.raises(InputError, match=r"b-overlay\.png exists; --overwrite replaces it"):
        predict._check_overlays([free, taken], [], False)
    predict._check_overlays([free, taken], [], True)
    with pytest.raises(InputError, match=r"b-overlay\.png"):
        predict._check_overlays([free, taken], [taken], True)
