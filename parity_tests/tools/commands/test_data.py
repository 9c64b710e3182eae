"""`unet data check`: exit codes, JSON, and arrays as image files."""

import json

import numpy as np
import pytest

from unet_data import membranes, write_stack
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main
from unet_tools.conversion.coco import Converted

from ...fixtures.pictures import GREY, LABELS, write


def printed(capsys, *arguments):
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_the_commands_open_arrays(kind, tmp_path, capsys):
    config = preset("paper", widths=(2, 4), padding="same")
    Checkpoint(config, random_tensors(config.graph, 5), DataSpec((0.5,), (0.2,))).save(tmp_path / "net")
    plain, arrays = (write(tmp_path / k, k, GREY, LABELS) for k in ("png", kind))
    (code, wanted), (other, found) = (printed(capsys, "data", "check", path) for path in (plain, arrays))
    assert (other, found) == (code, wanted) == (0, wanted)
    assert main(["data", "check", str(arrays)]) == 0
    assert capsys.readouterr().out.endswith("\nfit for training\n")
    (code, wanted), (other, found) = (printed(capsys, "evaluate", tmp_path / "net", path) for path in (plain, arrays))
    assert [scores.pop("data") for scores in (wanted, found)] == [str(plain), str(arrays)]
    assert (other, found) == (code, wanted) == (0, wanted)


CLEAN = membranes(8, 40, 0)


def write_pairs(folder, images, labels):
    for kind, arrays in (("images", images), ("labels", labels)):
        (folder / kind).mkdir()
        for i, array in enumerate(arrays):
            write_stack(folder / kind / f"{i}.png", array[None])


def test_the_command_reports_what_the_check_found(tmp_path, capsys):
    write_pairs(tmp_path, CLEAN.images, [label.astype(np.uint8) * 255 for label in CLEAN.labels])
    assert main(["data", "check", str(tmp_path), "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["ok"]
    assert printed["images"] == 8
    (tmp_path / "labels" / "7.png").unlink()
    assert main(["data", "check", str(tmp_path)]) == 2  # an image without a label
    assert "7" in capsys.readouterr().err
    write_stack(tmp_path / "labels" / "7.png", CLEAN.labels[7][None].astype(np.uint8))
    assert main(["data", "check", str(tmp_path)]) == 2  # 1 among 255
    assert "one convention" in capsys.readouterr().err
    write_stack(tmp_path / "labels" / "7.png", CLEAN.labels[7][None].astype(np.uint8) * 255)
    write_stack(tmp_path / "images" / "7.png", CLEAN.images[0][None])
    assert main(["data", "check", str(tmp_path)]) == 1
    assert "the same picture as 0" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("labels", "options", "overlaps", "printed"),
    [
        ("semantic", (False, False), 0, ["5 images, 9 objects; classes: 0 background, 1 cell"]),
        ("semantic", (False, False), 7, ["given to the last one; --labels overlapping keeps all annotations"]),
        ("instance", (True, False), 7, ["9 objects; labels are object numbers", "7 pixels lie in several annotations"]),
        ("overlapping", (False, True), 7, ["masks: background, cell", "7 pixels have several classes: train with"]),
    ],
)
def test_a_conversion_says_what_was_written(labels, options, overlaps, printed, tmp_path, capsys, monkeypatch):
    given = []

    def convert(*found):
        given.append(found)
        return Converted(5, 9, ("background", "cell"), overlaps, crowds=overlaps // 3)

    monkeypatch.setattr("unet_tools.commands.data.convert_coco", convert)
    words = ["data", "convert", str(tmp_path / "a.json"), "--out", str(tmp_path / "o"), "--labels", labels]
    assert main(words) == 0
    said = " ".join(capsys.readouterr().out.split())
    assert not [line for line in printed if line not in said], said
    assert ("pixels" in said) == bool(overlaps)
    assert said.endswith("given to the last one") == (labels == "instance")
    assert main([*words, "--images", str(tmp_path / "i"), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    classes = ["background", "cell"]
    out = str(tmp_path / "o")
    assert found == {
        "images": 5,
        "objects": 9,
        "classes": classes,
        "overlaps": overlaps,
        "crowds": overlaps // 3,
        "out": out,
    }
    assert given == [(tmp_path / "a.json", folder, tmp_path / "o", *options) for folder in (tmp_path, tmp_path / "i")]


def test_a_conversion_needs_a_folder(capsys):
    assert main(["data", "convert", "a.json"]) == 2
    assert "give the folder to write: unet data convert ANNOTATIONS.json --out FOLDER" in capsys.readouterr().err


def test_a_check_states_sizes_channels_and_shares(tmp_path, capsys):
    """Ignored pixels are a share of all pixels; the first three sizes are printed, all are in the JSON."""
    sizes = [(40, 50), (40, 52), (40, 54), (40, 56)]
    images = [np.random.default_rng(n).integers(0, 256, (*size, 3), np.uint8) for n, size in enumerate(sizes)]
    labels = []
    for size in sizes:
        label = np.zeros(size, np.uint8)
        label[:10], label[30:] = 1, 255  # a quarter each
        labels.append(label[..., None])
    write_pairs(tmp_path, images, labels)
    words = ["data", "check", str(tmp_path), "--ignore", "255", "--labels", "semantic", "--tile", "0"]
    code = main(words)
    said = " ".join(capsys.readouterr().out.split())
    assert "4 images, 40x50, 40x52, 40x54, 3 channel(s) of uint8" in said
    assert "66.7%" in said
    assert "33.3%; 25.0% of all pixels are ignored" in said
    assert said.endswith("fit for training")
    assert ("not fit" in said) == bool(code)
    assert main([*words, "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert found["sizes"] == ["40x50", "40x52", "40x54", "40x56"]
    assert (found["images"], found["channels"]) == (4, 3)
    assert list(found["classes"].values()) == pytest.approx([2 / 3, 1 / 3])
    assert found["ignored"] == pytest.approx(0.25)
    assert found["ok"] == (not code)
