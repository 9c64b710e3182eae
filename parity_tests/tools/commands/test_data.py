"""`unet data check`: exit codes, JSON, and arrays as image files."""

import json

import numpy as np
import pytest

from unet_data import membranes, write_stack
from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

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
