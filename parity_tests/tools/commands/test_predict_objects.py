"""`unet predict --output objects`: the same objects from the whole image, tiles, strips and shards, and after a kill
and resumption."""

import csv
import json

import numpy as np
import pytest
import tifffile

from unet_data import ObjectSettings, objects_of
from unet_data.inference import store
from unet_data.objects import streaming
from unet_spec import Checkpoint, DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_tools.cli import main

SIZE = (211, 149)
SETTINGS = ["--object-settings", "reach=5", "neck=0.95", "minimum_size=4"]


def image_of(size):
    return np.random.default_rng(0).integers(0, 4, size).astype(np.float32)


def exact_network(folder, out_channels=2, names=()):
    """A checkpoint whose sums are integers below 2^24, so that float32 rounds nothing in any order of addition."""
    config = PRESETS["paper"].replace(widths=(2, 4), dropout=0.0, out_channels=out_channels)
    rng = np.random.default_rng(3)
    tensors = {}
    for name, values in random_tensors(config.graph, 0, np.float32).items():
        whole = rng.choice([-1, 0, 0, 1, 1], values.shape) if values.ndim > 1 else np.zeros(values.shape)
        tensors[name] = whole.astype(np.float32)
    weight, bias = list(tensors)[-2:]
    tensors[weight] *= np.float32(2.0**-6)
    image = image_of((124, 124))[None]
    logits = config.graph.forward({k: v.astype(np.float64) for k, v in tensors.items()}, image[..., None])
    tensors[bias] = -np.round(np.median(logits, (0, 1, 2)) * 64).astype(np.float32) / 64  # so that all classes occur
    Checkpoint(config, tensors, DataSpec(class_names=names)).save(folder)


@pytest.fixture
def case(tmp_path, monkeypatch):
    monkeypatch.setattr(streaming, "LARGEST", 64)
    exact_network(tmp_path / "ck")
    np.save(tmp_path / "in.npy", image_of(SIZE))

    def predict(*flags, out="out.npy"):
        (tmp_path / out).unlink(missing_ok=True)
        command = ["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "-o", str(tmp_path / out)]
        code = main([*command, "--output", "objects", *SETTINGS, *flags])
        return code, np.load(tmp_path / out) if (tmp_path / out).exists() else None

    return tmp_path, predict


def test_tiles_strips_and_shards_give_the_same_objects(case):
    folder, predict = case
    code, whole = predict()
    assert code == 0
    assert whole.max() > 20
    out = folder / "p.npy"
    flags = ["--output", "probabilities", "--dtype", "uint8", "-o", str(out)]
    assert main(["predict", str(folder / "ck"), str(folder / "in.npy"), *flags]) == 0
    expected, _ = objects_of(np.load(out), ObjectSettings(reach=5, neck=0.95, minimum_size=4))
    np.testing.assert_array_equal(whole, expected)
    ways = [["--tile", str(tile)] for tile in (44, 60, 76, 92, 140)] + [["--strips"], ["--runtime", "jax"]]
    for way in ways:
        np.testing.assert_array_equal(predict(*way)[1], whole, err_msg=str(way))
    for part in (3, 1, 4, 2):
        assert predict("--tile", "60", "--shard", f"{part}/4") == (0, None)
    np.testing.assert_array_equal(predict("--tile", "60")[1], whole)
    assert not list(folder.glob("*.part"))


def test_killed_while_tiles_and_while_blocks_are_computed(case, monkeypatch):
    folder, predict = case
    _, whole = predict("--tile", "76")

    class Killed(BaseException):
        pass

    def killing(real, after):
        left = [after]

        def do(*args):
            left[0] -= 1
            if left[0] < 0:
                raise Killed
            return real(*args)

        return do

    for module, name, after in ((store.TileStore, "put", 3), (streaming, "_save", 2)):
        with monkeypatch.context() as patched:
            patched.setattr(module, name, killing(getattr(module, name), after))
            with pytest.raises(Killed):
                predict("--tile", "76")
    assert len(list((folder / "out.npy.part" / "objects").rglob("*.npz"))) == 2
    np.testing.assert_array_equal(predict("--tile", "76")[1], whole)


def test_other_settings_do_not_join_the_folder(case, monkeypatch, capsys):
    _, predict = case
    assert predict("--tile", "76", "--shard", "1/2")[0] == 0
    assert predict("--tile", "76", "--object-settings", "reach=6")[0] == 2
    assert "objects" in capsys.readouterr().err


def test_table_outlines_and_the_printed_line(case, capsys):
    folder, predict = case
    flags = ["--table", str(folder / "t.csv"), "--outlines", str(folder / "o.geojson")]
    code, labels = predict(*flags)
    said = capsys.readouterr().err
    assert code == 0
    count = int(labels.max())
    assert f"{count:,} objects ({count:,} class 1), separated by method distance" in said
    assert "neck 0.95, minimum_size 4, reach 5 (the defaults, not tuned for this network, with your changes)" in said
    assert "does not state its pixel size" in said
    with (folder / "t.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["area"]) for row in rows] == np.bincount(labels.ravel())[1:].tolist()
    image = np.load(folder / "in.npy")
    assert float(rows[4]["mean_0"]) == pytest.approx(image[labels == 5].mean(), rel=1e-6)
    assert {row["class"] for row in rows} == {"class 1"}
    assert len(json.loads((folder / "o.geojson").read_text())["features"]) == count
    code, _ = predict(*flags, "--json")
    assert code == 2
    assert "t.csv exists; --overwrite replaces it" in capsys.readouterr().err
    code, _ = predict(*flags, "--json", "--overwrite")
    record = json.loads(capsys.readouterr().out)["images"][0]
    assert record["objects"] == {"class 1": count}
    assert record["object_settings"]["reach"] == 5


def test_several_pages_classes_and_images(tmp_path, capsys):
    exact_network(tmp_path / "ck", 3, ("background", "round", "long"))
    images = image_of((2, 61, 53))
    for name in "ab":
        tifffile.imwrite(tmp_path / f"{name}.tif", images, resolution=(5000, 5000), resolutionunit="CENTIMETER")
    command = ["predict", str(tmp_path / "ck"), str(tmp_path / "a.tif"), str(tmp_path / "b.tif"), "--output", "objects"]
    assert main([*command, "-o", str(tmp_path / "out"), "--table", str(tmp_path / "t.csv")]) == 0
    labels = tifffile.imread(tmp_path / "out" / "b.tif")
    with (tmp_path / "t-b.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert (tmp_path / "t-a.csv").exists()
    for page in (0, 1):
        own = [row for row in rows if int(row["image"]) == page]
        assert [int(row["object"]) for row in own] == list(range(1, int(labels[page].max()) + 1))
    assert {row["class"] for row in rows} <= {"round", "long"}
    assert float(rows[0]["area_um2"]) == 4 * int(rows[0]["area"])
    assert "round" in capsys.readouterr().err


def test_the_last_image_of_several_has_a_table_of_its_name(tmp_path, capsys):
    """Also where the others exist, or are of another shard."""
    exact_network(tmp_path / "ck")
    for name in "abc":
        tifffile.imwrite(tmp_path / f"{name}.tif", image_of((61, 53)))
    command = ["predict", str(tmp_path / "ck"), *(str(tmp_path / f"{name}.tif") for name in "abc")]
    command += ["-o", str(tmp_path / "out"), "--output", "objects", "--table", str(tmp_path / "t.csv")]
    assert main([*command, "--shard", "1/3"]) == 0
    assert main([*command, "--shard", "2/3"]) == 0
    capsys.readouterr()
    assert main([*command, "--skip-existing"]) == 0
    assert "2 of 3 images skipped, since their results exist" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.glob("*.csv")) == ["t-a.csv", "t-b.csv", "t-c.csv"]


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--table", "t.csv"], "--output objects"),
        (["--object-settings", "neck=1"], "--output objects"),
        (["--output", "objects", "--object-settings", "nose=1"], "neck"),
        (["--output", "objects", "--object-settings", "border=1"], "border"),
        (["--output", "objects", "--table", "t.txt"], ".csv or .parquet"),
        (["--output", "objects", "--outlines", "o.svg"], "QuPath"),
        (["--output", "objects", "--object-settings", "reach=4000", "--memory", "900MiB"], "lower reach (4000)"),
    ],
)
def test_what_cannot_be_done_is_refused_before_anything_is_computed(tmp_path, flags, message, capsys):
    exact_network(tmp_path / "ck")
    np.save(tmp_path / "in.npy", np.zeros((20000, 6000), np.uint8))
    assert main(["predict", str(tmp_path / "ck"), str(tmp_path / "in.npy"), "-o", str(tmp_path / "o.tif"), *flags]) == 2
    assert message in capsys.readouterr().err
    assert not list(tmp_path.glob("*.part"))
