"""What only `open_stored` opens, in the commands that look at labelled data: as of the same pixels in memory."""

import json

import numpy as np
import pytest

import unet_data.stored
import unet_data.tiles
import unet_tools.data
from unet_data import membranes, open_dataset, open_stored, write_stack
from unet_data.check import check_dataset
from unet_data.window_weights import connected_cells
from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_tools.cli import main
from unet_tools.data import open_data

MADE = membranes(7, (44, 51), 0, channels=3)
IMAGES = [
    *MADE.images[:2],
    MADE.images[2] // 64,  # dark
    np.full_like(MADE.images[3], 9),  # empty
    MADE.images[0],  # twice
    MADE.images[5],
    np.clip(MADE.images[0].astype(int) + np.indices((44, 51, 1)).sum(0) % 2, 0, 255),  # nearly the first, validates
]
LABELS = [label * 255 for label in MADE.labels]
GREY = [image[..., :1] for image in IMAGES[:1]] + [image[..., :1] for image in MADE.images[1:]]


def write(folder, kind, images, labels):
    for name, arrays in (("images", images), ("labels", labels)):
        (folder / name).mkdir(parents=True)
        for i, array in enumerate(arrays):
            path, array = folder / name / f"{i}.{kind}", array.astype(np.uint8)
            if kind == "zarr":
                pytest.importorskip("zarr").create_array(str(path), data=np.squeeze(array), chunks=(16, 16))
            elif kind == "npy":
                np.save(path, array)
            else:
                write_stack(path, array[None])
    return folder


def told(capsys, *arguments):
    code = main([*map(str, arguments), "--json"])
    return code, json.loads(capsys.readouterr().out)


@pytest.mark.parametrize("band", [1, 300, unet_data.tiles.BAND])
def test_the_check_finds_the_same_by_bands(band, tmp_path, monkeypatch):
    alike = [image.repeat(3, -1) for image in GREY]
    own = [label[..., None] for label in LABELS]
    for name, images, planted in (
        ("colour", IMAGES, ("the same picture", "nearly", "empty", "no value")),
        ("grey as colour", alike, ("three equal channels",)),
        ("masks", own, ("its own label",)),
    ):
        path = write(tmp_path / name, "tif", images, LABELS)
        with monkeypatch.context() as patch:
            wanted = check_dataset(open_dataset(path), 64)
            patch.setattr(unet_data.tiles, "BAND", band)
            assert check_dataset(open_stored(path), 64) == wanted
        words = "\n".join(p.what for p in wanted)
        assert [each for each in planted if each not in words] == []


def test_the_check_reads_no_more_than_a_band(tmp_path, monkeypatch):
    path = write(tmp_path, "npy", IMAGES, LABELS)
    monkeypatch.setattr(unet_data.tiles, "BAND", 4 * 51)
    sizes, read = [], unet_data.stored.Stored.__getitem__

    def spied(stored, window):
        found = read(stored, window)
        sizes.append(found.shape[0] if isinstance(found, np.ndarray) else 0)
        return found

    monkeypatch.setattr(unet_data.stored.Stored, "__getitem__", spied)
    check_dataset(open_stored(path))
    assert max(sizes) == 4


@pytest.mark.parametrize("kind", ["npy", "zarr"])
def test_the_commands_open_arrays(kind, tmp_path, capsys):
    config = preset("paper", widths=(2, 4), padding="same")
    Checkpoint(config, random_tensors(config.graph, 5), DataSpec((0.5,), (0.2,))).save(tmp_path / "net")
    plain, arrays = (write(tmp_path / k, k, GREY, LABELS) for k in ("png", kind))
    (code, wanted), (other, found) = (told(capsys, "data", "check", path) for path in (plain, arrays))
    assert (other, found) == (code, wanted) == (0, wanted)
    assert main(["data", "check", str(arrays)]) == 0
    assert capsys.readouterr().out.endswith("\nfit for training with --loader grain\n")
    (code, wanted), (other, found) = (told(capsys, "evaluate", tmp_path / "net", path) for path in (plain, arrays))
    assert [scores.pop("data") for scores in (wanted, found)] == [str(plain), str(arrays)]
    assert (other, found) == (code, wanted) == (0, wanted)


def test_samples_of_arrays(tmp_path, capsys):
    config = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)
    Checkpoint(config, random_tensors(config.graph, 0), DataSpec()).save(tmp_path / "net")
    paths = [write(tmp_path / kind, kind, GREY[:2], LABELS[:2]) for kind in ("png", "npy")]
    wanted, found = (told(capsys, "evaluate", tmp_path / "net", path, "--samples", 2) for path in paths)
    assert [scores.pop("data") for _, scores in (wanted, found)] == [str(path) for path in paths]
    assert found == wanted
    assert "energy_distance" in found[1]


def test_what_is_opened_by_windows(tmp_path, monkeypatch, capsys):
    plain = write(tmp_path / "png", "png", GREY, LABELS)
    np.save(plain / "images" / "0_seg.npy", GREY[0])  # of another program: no image where there are others
    assert not open_data(str(plain), stored=None).stored
    monkeypatch.setattr(unet_tools.data, "LARGE", 1000)
    assert not open_data(str(plain), stored=None).stored
    (plain / "images" / "0_seg.npy").unlink()
    assert open_data(str(plain), stored=None).stored
    assert not open_data(str(plain / "images"), stored=None).stored  # without labels
    assert not open_data("synthetic", stored=None).stored
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"images: holds \.npy or \.zarr, .* --loader grain"):
        open_data(str(write(tmp_path / "npy", "npy", GREY, LABELS)))
    assert main(["data", "check", str(tmp_path / "empty")]) == 2
    assert "has no images" in capsys.readouterr().err


def test_damaged_cells_are_numbered_again(tmp_path):
    label = MADE.labels[0]
    wanted = np.asarray(connected_cells(label, tmp_path))
    (file,) = tmp_path.iterdir()
    content = file.read_bytes()
    for wrong in (*(content[:length] for length in (0, 5, 40, 128, 300, len(content) - 1)), bytes(900), b"PK damaged"):
        file.write_bytes(wrong)
        np.testing.assert_array_equal(np.asarray(connected_cells(label, tmp_path)), wanted)
        assert file.read_bytes() == content
