"""Label files: the numbers, and the colours by which Fiji shows them."""

from types import SimpleNamespace

import numpy as np
import pytest
import tifffile

from unet_data import FileFacts, open_pictures
from unet_data.io import writers
from unet_data.io.formats.units import symbol
from unet_data.objects import labels_file
from unet_data.objects.labels_file import colours, write_labels
from unet_spec import InputError

from .test_table import labelled


def page(labels, count=None):
    def window(start, stop, step=1):
        return labels[tuple(slice(a, b, step) for a, b in zip(start, stop, strict=True))]

    return SimpleNamespace(shape=labels.shape, count=int(labels.max() if count is None else count), window=window)


@pytest.mark.parametrize(("count", "shape"), [(1, (61, 83)), (3, (61, 83)), (1, (9, 13, 15))])
def test_a_tiff_has_the_numbers_and_colours(tmp_path, count, shape):
    pages = [labelled(shape, seed) for seed in range(count)]
    assert write_labels(tmp_path / "o.tif", [page(p) for p in pages]) == np.uint16
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        assert tiff.is_imagej
        np.testing.assert_array_equal(tiff.imagej_metadata["LUTs"], colours())
        assert tiff.imagej_metadata["max"] == max(p.max() for p in pages)
        assert tiff.series[0].axes == {2: "YX", 3: "ZYX"}[len(shape)] if count == 1 else "TYX"
        np.testing.assert_array_equal(tiff.asarray(), pages[0] if count == 1 else np.stack(pages))


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize(("kind", "axes"), [("imagej", "TZYX"), ("ome", "TZYX"), ("ome", "ZTYX"), ("", "ZTYX")])
def test_time_and_depth_of_the_image_are_kept(tmp_path, kind, axes, dims):
    stack = np.stack([labelled((9, 11), seed) for seed in range(6)]).reshape(2, 3, 9, 11)  # T, Z or Z, T
    volumes = stack if axes == "TZYX" else stack.swapaxes(0, 1)
    pages = [page(p) for p in (volumes if dims == 3 else stack.reshape(6, 9, 11))]
    facts = FileFacts(axes=axes, sizes=stack.shape, spacing=(3.0, 0.5, 0.5), unit="µm", extra=((kind, ()),))
    write_labels(tmp_path / "o.tif", pages, facts=facts)
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        own = axes if dims == 2 else "TZYX"
        assert tiff.series[0].axes == own
        assert bool(tiff.is_imagej) == (kind != "ome" and own == "TZYX")
        np.testing.assert_array_equal(tiff.asarray(), stack if own == axes else volumes)
        if kind == "ome":
            assert 'PhysicalSizeZ="3.0"' in tiff.ome_metadata
        elif tiff.is_imagej and kind == "":
            np.testing.assert_array_equal(tiff.imagej_metadata["LUTs"], colours())
    if kind != "imagej" and own == "TZYX":
        read = open_pictures(tmp_path / "o.tif", 3)[0].facts
        assert (symbol(read.unit), read.spacing) == ("µm", pytest.approx((3.0, 0.5, 0.5)))


def test_more_objects_than_16_bits(tmp_path):
    labels = labelled().astype(np.uint32) * 10000
    assert write_labels(tmp_path / "o.tif", [page(labels)]) == np.uint32
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), labels)
    with pytest.raises(InputError, match="65535"):
        write_labels(tmp_path / "o.png", [page(labels)])


def test_three_pages_of_32_bits_are_not_colours(tmp_path):
    labels = labelled((9, 11)).astype(np.uint32)
    write_labels(tmp_path / "o.tif", [page(labels, 70000)] * 3)
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        assert tiff.series[0].axes == "TYX"
        np.testing.assert_array_equal(tiff.asarray(), [labels] * 3)


def test_a_large_one_is_written_in_tiles(tmp_path, monkeypatch):
    for module in (labels_file, writers):
        monkeypatch.setattr(module, "WHOLE_BELOW", 100)
    labels = labelled()
    write_labels(tmp_path / "o.tif", [page(labels)])
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "o.tif"), labels)


def test_neighbouring_colours_differ():
    table = colours().astype(int)
    assert (table[:, 0] == 0).all()
    assert len({tuple(c) for c in table.T}) == 256
    assert np.abs(np.diff(table[:, 1:], axis=1)).sum(0).min() > 60


def test_the_size_of_pixels_and_a_place_on_the_earth_are_kept(tmp_path):
    facts = FileFacts(spacing=(0.5, 0.25), unit="um", extra=(("imagej", (("unit", "um"),)), ("resolution", (4, 2, 1))))
    write_labels(tmp_path / "o.tif", [page(labelled())], facts=facts)
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        assert tiff.imagej_metadata["unit"] == "um"
        assert tiff.pages[0].tags["XResolution"].value == (4, 1)
        assert "LUTs" in tiff.imagej_metadata
    place = FileFacts(extra=(("geotiff", ((33550, (2.0, 2.0, 0.0)),)),))
    write_labels(tmp_path / "o.tif", [page(labelled())], facts=place)
    with tifffile.TiffFile(tmp_path / "o.tif") as tiff:
        assert tiff.pages[0].tags[33550].value == (2.0, 2.0, 0.0)
