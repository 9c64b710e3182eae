"""OME-Zarr in, OME-Zarr out: axes, scale and translation of the level that was read, as its metadata say them."""

import json

import numpy as np
import pytest

zarr = pytest.importorskip("zarr", reason="zarr is not installed")

from unet_data import open_pictures
from unet_spec import InputError

from ..helpers import noise
from .bright import predicted

SPACE = {"type": "space", "unit": "micrometer"}
AXES = {
    "t": {"name": "t", "type": "time", "unit": "second"},
    "c": {"name": "c", "type": "channel"},
    **{name: {"name": name, **SPACE} for name in "zyx"},
}
SCALE = {"t": 3.0, "c": 1.0, "z": 2.0, "y": 0.5, "x": 0.25}
MOVED = {"t": 0.0, "c": 0.0, "z": -4.0, "y": 10.0, "x": 20.0}


def ome_zarr(path, axes, levels, version=3):
    """A pyramid, each level half as fine as the one before along y and x."""
    group = zarr.create_group(path, zarr_format=version)
    datasets = []
    for number, array in enumerate(levels):
        own = {"dimension_names": list(axes)} if version == 3 else {}
        made = group.create_array(str(number), shape=array.shape, dtype=array.dtype, chunks=array.shape, **own)
        made[...] = array
        finer = {name: 2**number if name in "yx" else 1 for name in axes}
        steps = [{"type": "scale", "scale": [SCALE[a] * finer[a] for a in axes]}]
        steps.append({"type": "translation", "translation": [MOVED[a] + finer[a] for a in axes]})
        datasets.append({"path": str(number), "coordinateTransformations": steps})
    whole = {"coordinateTransformations": [{"type": "scale", "scale": [10.0 if a == "t" else 1.0 for a in axes]}]}
    image = {"name": "pos 1", "axes": [AXES[a] for a in axes], "datasets": datasets, **whole}
    entry = {"multiscales": [image | ({"version": "0.4"} if version == 2 else {})]}
    group.attrs.update(entry if version == 2 else {"ome": {"version": "0.5", **entry}})


def written(path):
    """The metadata of a result, without the package zarr: the one image, its axes by name, scale and translation."""
    values = json.loads((path / "zarr.json").read_text())
    assert values["node_type"] == "group"
    assert values["attributes"]["ome"]["version"] == "0.5"
    [image] = values["attributes"]["ome"]["multiscales"]
    [level] = image["datasets"]
    array = json.loads((path / level["path"] / "zarr.json").read_text())
    names = [a["name"] for a in image["axes"]]
    assert array["dimension_names"] == names
    steps = {
        step["type"]: dict(zip(names, step[step["type"]], strict=True)) for step in level["coordinateTransformations"]
    }
    assert list(steps) == ["scale", "translation"]
    return image, names, steps, np.asarray(zarr.open(path / level["path"], mode="r"))


@pytest.mark.parametrize("version", [2, 3])
@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("level", [None, "1"])
def test_axes_scale_and_translation_come_back(version, dims, level, tmp_path):
    array = noise(2, 1, 3, 16, 20)
    ome_zarr(tmp_path / "a.zarr", "tczyx", [array, array[..., ::2, ::2]], version)
    source = tmp_path / "a.zarr" / level if level else tmp_path / "a.zarr"
    assert predicted(source, tmp_path / "o.zarr", dims) == []
    image, _, steps, pixels = written(tmp_path / "o.zarr")
    finer = 2 if level else 1
    assert image["name"] == "pos 1"
    assert image["axes"] == [AXES[a] for a in "tzyx"]  # a label is no channel
    assert steps["scale"] == {"t": 30.0, "z": 2.0, "y": 0.5 * finer, "x": 0.25 * finer}
    assert steps["translation"] == {"t": 10.0, "z": -3.0, "y": 10.0 + finer, "x": 20.0 + finer}
    np.testing.assert_array_equal(pixels, array[:, 0, :, ::finer, ::finer] > 127)
    assert [p.shape for p in open_pictures(tmp_path / "o.zarr", 3)] == [(*pixels.shape[1:], 1)] * 2


@pytest.mark.parametrize("dims", [2, 3])
def test_several_values_are_an_axis_of_channels_before_those_of_space(dims, tmp_path):
    array = noise(2, 3, 16, 20)
    ome_zarr(tmp_path / "a.zarr", "tzyx", [array])
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr", dims, 3, output="probabilities", dtype="uint8")
    image, names, steps, pixels = written(tmp_path / "o.zarr")
    assert names == ["t", "c", "z", "y", "x"]
    np.testing.assert_array_equal(pixels[:, 1] > 127, array > 127)
    assert steps["scale"]["c"] == 1.0
    assert image["axes"][names.index("c")] == AXES["c"]


def test_objects_lie_there_too(tmp_path):
    array = np.zeros((30, 31), np.uint8)
    array[4:14, 5:15] = 255
    ome_zarr(tmp_path / "a.zarr", "yx", [array])
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr", output="objects", table=tmp_path / "t.csv")
    _, _, steps, pixels = written(tmp_path / "o.zarr")
    assert steps["scale"] == {"y": 0.5, "x": 0.25}
    np.testing.assert_array_equal(pixels > 0, array > 0)
    assert "area_um2" in (tmp_path / "t.csv").read_text()


def test_pixel_sizes_of_a_stack_measure_its_pages(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "zyx", [np.full((2, 16, 20), 255, np.uint8)])
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr", output="objects", table=tmp_path / "t.csv")
    head, first, _ = (tmp_path / "t.csv").read_text().splitlines()
    row = dict(zip(head.split(","), first.split(","), strict=True))
    assert float(row["area_um2"]) == 16 * 20 * 0.5 * 0.25
    assert "z_um" not in row


def test_a_tiff_has_its_pixel_size(tmp_path):
    import tifffile

    ome_zarr(tmp_path / "a.zarr", "zyx", [noise(3, 16, 20)])
    assert predicted(tmp_path / "a.zarr", tmp_path / "o.tif") == []
    with tifffile.TiffFile(tmp_path / "o.tif") as new:
        found = tifffile.xml2dict(new.ome_metadata or "")["OME"]["Image"]["Pixels"]
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeY": 0.5, "PhysicalSizeZ": 2.0}
    assert {name: found[name] for name in sizes} == sizes
    assert {found[f"{name}Unit"] for name in sizes} == {"µm"}


def test_an_array_that_says_nothing_gives_an_array(tmp_path):
    zarr.create_array(tmp_path / "a.zarr", shape=(16, 20), dtype="u1", chunks=(16, 20))
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr")
    assert zarr.open(tmp_path / "o.zarr", mode="r").shape == (16, 20)


def test_a_result_is_replaced_but_nothing_that_lies_in_it(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx", [noise(16, 20)])
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr")
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr", overwrite=True)
    (tmp_path / "o.zarr" / "0" / "notes.txt").write_text("precious")
    with pytest.raises(Exception, match="is not a result of a prediction, or contains more"):
        predicted(tmp_path / "a.zarr", tmp_path / "o.zarr", overwrite=True)
    with pytest.raises(Exception, match="is not a result of a prediction, or contains more"):
        predicted(tmp_path / "o.zarr" / "0", tmp_path / "a.zarr", overwrite=True)


def levels(path):
    """The metadata of a pyramid, of either version, and its arrays."""
    group = zarr.open_group(path, mode="r")
    attributes = dict(group.attrs)
    metadata = attributes.get("ome", attributes)
    [image] = metadata["multiscales"]
    return metadata, image, [np.asarray(group[level["path"]]) for level in image["datasets"]]


@pytest.mark.parametrize("version", [2, 3])
def test_labels_lie_in_their_image_as_a_pyramid(version, tmp_path):
    array = noise(1, 2, 110, 70)
    image = tmp_path / "a.zarr"
    ome_zarr(image, "cyx", [array[0, :1], array[0, :1, ::2, ::2]], version)  # labels have its number of levels
    for name in ("cells", "more"):
        predicted(image, image / "labels" / name)
    metadata, scales, arrays = levels(image / "labels/cells")
    np.testing.assert_array_equal(arrays[0], array[0, 0] > 127)
    np.testing.assert_array_equal(arrays[1], arrays[0][::2, ::2])
    assert len(arrays) == 2
    steps = [{s["type"]: s[s["type"]] for s in level["coordinateTransformations"]} for level in scales["datasets"]]
    assert [s["scale"] for s in steps] == [[0.5, 0.25], [1.0, 0.5]]
    assert [s["translation"] for s in steps] == [[11.0, 21.0]] * 2  # the first pixel is the same
    assert metadata["image-label"]["source"] == {"image": "../../"}
    listed = dict(zarr.open_group(image / "labels", mode="r").attrs)
    assert listed.get("ome", listed)["labels"] == ["cells", "more"]
    predicted(image, image / "labels/cells", overwrite=True)
    assert sorted(p.name for p in (image / "labels").iterdir() if p.is_dir()) == ["cells", "more"]
    assert open_pictures(image, 2, 1)[0].shape == (110, 70, 1)


def test_a_large_result_is_a_pyramid(tmp_path):
    array = noise(1100, 70)
    ome_zarr(tmp_path / "a.zarr", "yx", [array])
    predicted(tmp_path / "a.zarr", tmp_path / "o.zarr")
    _, scales, arrays = levels(tmp_path / "o.zarr")
    assert [a.shape for a in arrays] == [(1100, 70), (550, 35)]
    np.testing.assert_array_equal(arrays[1], array[::2, ::2] > 127)
    assert scales["type"] == "nearest"


def test_only_labels_lie_in_an_image(tmp_path):
    ome_zarr(tmp_path / "a.zarr", "yx", [noise(16, 20)])
    with pytest.raises(InputError, match="a label image holds only labels or objects"):
        predicted(tmp_path / "a.zarr", tmp_path / "a.zarr/labels/p", output="probabilities")
    zarr.create_group(tmp_path / "b.zarr")
    with pytest.raises(InputError, match=r"b\.zarr: is not an image of an OME-Zarr, so cells cannot be its labels"):
        predicted(tmp_path / "a.zarr", tmp_path / "b.zarr/labels/cells")
    assert not (tmp_path / "b.zarr/labels").exists()


def test_any_image_becomes_an_ome_zarr_by_its_ending(tmp_path):
    import tifffile

    array = noise(3, 30, 40)
    sizes = {"PhysicalSizeY": 0.5, "PhysicalSizeX": 0.25, "PhysicalSizeYUnit": "µm", "PhysicalSizeXUnit": "µm"}
    tifffile.imwrite(tmp_path / "a.ome.tif", array, metadata={"axes": "TYX", **sizes})
    assert predicted(tmp_path / "a.ome.tif", tmp_path / "o.ome.zarr") == []
    _, image, [pixels] = levels(tmp_path / "o.ome.zarr")
    assert image["axes"] == [{"name": "t", "type": "time"}, AXES["y"], AXES["x"]]
    assert image["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 0.5, 0.25]}]
    np.testing.assert_array_equal(pixels, array > 127)
    np.save(tmp_path / "v.npy", array)
    predicted(tmp_path / "v.npy", tmp_path / "v.ome.zarr", dims=3)
    assert [a["name"] for a in levels(tmp_path / "v.ome.zarr")[1]["axes"]] == ["z", "y", "x"]
