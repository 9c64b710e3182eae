"""What a result takes over from its image, as others read it: georeference, resolution, pixel size, time and depth."""

from dataclasses import replace

import numpy as np
import pytest
import tifffile

from unet_data import Dataset, open_dataset, open_pictures, open_stored, write_stack
from unet_data.io import writers
from unet_data.io.carried import counted_axes, lost, page_order, volumes
from unet_data.io.facts import FileFacts
from unet_spec import InputError

from ..inference.filled_store import filled
from .formats.bright import predicted

PICTURE = np.random.default_rng(0).integers(0, 256, (20, 24), np.uint8)
GEO = [
    (33550, "d", 3, (0.6, 0.5, 0.0), True),
    (33922, "d", 6, (0.0, 0.0, 0.0, 300057.6, 4100000.0, 0.0), True),
    (34735, "H", 16, (1, 1, 0, 3, 1024, 0, 1, 1, 1025, 0, 1, 1, 3072, 0, 1, 32610), True),
    (34737, "s", 0, "UTM zone 10N|", True),
]


@pytest.fixture(params=["whole", "by windows"])
def written(request, monkeypatch):
    """Results are written as small ones are, and as large ones."""
    if request.param == "by windows":
        monkeypatch.setattr(writers, "WHOLE_BELOW", 0)
    return request.param


@pytest.mark.parametrize("output", ["labels", "logits"])
def test_a_georeference_comes_back(output, written, tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", PICTURE, extratags=GEO, resolution=(0.5, 0.25), resolutionunit=1)
    assert predicted(tmp_path / "t.tif", tmp_path / "out.tif", output=output) == []
    with tifffile.TiffFile(tmp_path / "t.tif") as old, tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert new.pages[0].geotiff_tags == old.pages[0].geotiff_tags
        assert new.pages[0].geotiff_tags["ProjectedCSTypeGeoKey"] == 32610
        for code in (33550, 33922, 34735, 34737, 282, 283, 296):
            assert new.pages[0].tags[code].value == old.pages[0].tags[code].value, code
        shape = (20, 24) if output == "labels" else (20, 24, 2)
        assert new.asarray().shape == shape


def test_a_unit_of_resolution_that_tiff_does_not_define_counts_as_none(written, tmp_path):
    path = tmp_path / "t.tif"
    tifffile.imwrite(path, PICTURE, resolution=(0.5, 0.25), resolutionunit=2)
    with tifffile.TiffFile(path, mode="r+") as file:
        file.pages[0].tags[296].overwrite(77)
    assert predicted(path, tmp_path / "out.tif") == []
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert [new.pages[0].tags[code].value for code in (282, 283, 296)] == [(1, 2), (1, 4), 1]


def test_rasterio_reads_the_same_place(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    tifffile.imwrite(tmp_path / "t.tif", PICTURE, extratags=GEO)
    predicted(tmp_path / "t.tif", tmp_path / "out.tif")
    with rasterio.open(tmp_path / "t.tif") as old, rasterio.open(tmp_path / "out.tif") as new:
        assert new.crs == old.crs
        assert new.crs.to_epsg() == 32610
        assert new.transform == old.transform
        np.testing.assert_array_equal(new.read(1), PICTURE > 127)


def test_a_calibrated_imagej_picture_stays_calibrated(tmp_path):
    options = {"imagej": True, "resolution": (4.0, 4.0), "metadata": {"unit": "um", "axes": "YX"}}
    tifffile.imwrite(tmp_path / "i.tif", PICTURE, **options)
    predicted(tmp_path / "i.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert new.is_imagej
        assert new.imagej_metadata["unit"] == "um"
        assert new.pages[0].tags["XResolution"].value == (4, 1)


def test_pixel_sizes_of_ome_come_back(written, tmp_path):
    sizes = {"PhysicalSizeX": 0.25, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.5, "PhysicalSizeYUnit": "µm"}
    tifffile.imwrite(tmp_path / "o.ome.tif", PICTURE, ome=True, metadata={"axes": "YX", **sizes})
    assert open_pictures(tmp_path / "o.ome.tif", 2)[0].facts.spacing == (0.5, 0.25)
    predicted(tmp_path / "o.ome.tif", tmp_path / "out.tif")
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        found = tifffile.xml2dict(new.ome_metadata)["OME"]["Image"]["Pixels"]
    assert {name: found[name] for name in sizes} == sizes


def test_axes_in_different_units_have_one_pixel_size(tmp_path):
    flat = {"PhysicalSizeX": 0.1, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 0.1, "PhysicalSizeYUnit": "µm"}
    metadata = {"axes": "ZYX", **flat, "PhysicalSizeZ": 300, "PhysicalSizeZUnit": "nm"}
    tifffile.imwrite(tmp_path / "o.ome.tif", STACK[0], ome=True, metadata=metadata)
    metadata = {"axes": "ZYX", "unit": "\\u00B5m", "zunit": "nm", "spacing": -300}
    tifffile.imwrite(tmp_path / "i.tif", STACK[0], imagej=True, resolution=(10, 10), metadata=metadata)
    for name in ("o.ome.tif", "i.tif"):
        facts = open_pictures(tmp_path / name, 3)[0].facts
        assert (facts.spacing, facts.unit) == ((0.3, 0.1, 0.1), "µm")
    predicted(tmp_path / "i.tif", tmp_path / "out.tif", 3)
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert {key: new.imagej_metadata[key] for key in ("zunit", "spacing")} == {"zunit": "nm", "spacing": -300}


CALIBRATED = FileFacts(spacing=(0.5, 0.25), unit="µm", extra=(("imagej", (("unit", "µm"),)), ("resolution", (4, 2, 1))))


@pytest.mark.parametrize("kind", ["imagej", "ome"])
@pytest.mark.parametrize(
    ("values", "dtype"), [(0, "uint8"), (0, "float16"), (2, "uint8"), (4, "float32"), (2, "float16")]
)
def test_results_of_every_shape_and_dtype_keep_the_pixel_size(kind, values, dtype, written, tmp_path):
    """ImageJ's kind of TIFF has no values per pixel, tiles or 16-bit floats, OME no 16-bit floats."""
    facts = CALIBRATED if kind == "imagej" else replace(CALIBRATED, extra=(("ome", True),))
    store, _ = filled(tmp_path, np.dtype(dtype), (values,) * (values > 0), size=(40, 44))
    store.write(tmp_path / "o.tif", facts)
    found = open_pictures(tmp_path / "o.tif", 2)[0]
    assert (found.shape[2], found.facts.dtype) == (values or 1, dtype)
    assert (found.facts.spacing == (0.5, 0.25)) == (dtype != "float16")
    assert (lost(facts, ".tif", np.dtype(dtype)) is None) == (dtype != "float16")


@pytest.mark.parametrize(
    ("spacing", "extra", "dims", "found"),
    [
        ((0.5, 0.25), (), 2, (0.5, 0.25)),
        ((2.0, 0.5, 0.25), (), 3, (2.0, 0.5, 0.25)),
        ((2.0, 0.5, 0.25), (("resolution", (1e4, 1e4, 3)),), 3, (2.0, 0.5, 0.25)),
        ((1e-4, 1e-4), (("resolution", (1e4, 1e4, 3)),), 2, (1e-4, 1e-4)),  # cm, by the tag
        ((0.5, 0.5), (("geotiff", ()),), 2, None),
    ],
)
def test_a_pixel_size_given_by_the_user_is_written_into_a_tiff(spacing, extra, dims, found, tmp_path):
    axes = ("QYX", (2, 4, 5)) if dims == 2 else ("ZYX", (2, 4, 5))
    facts = FileFacts(axes=axes[0], sizes=axes[1], spacing=spacing, unit="µm", extra=extra)
    write_stack(tmp_path / "o.tif", np.zeros((2, 4, 5), np.uint8), facts, dims)
    again = open_pictures(tmp_path / "o.tif", dims)
    assert (again[0].facts.spacing, len(again)) == (found, {2: 2, 3: 1}[dims])
    assert lost(facts, ".tif") is None


@pytest.mark.parametrize("kind", ["imagej", "ome", ""])
def test_a_turned_picture_keeps_its_pixel_size(kind, tmp_path):
    extra = ((kind, (("unit", "µm"),)), ("resolution", (4, 2, 3)))
    facts = replace(CALIBRATED, extra=extra, turned=True, orientation=6)
    write_stack(tmp_path / "o.tif", PICTURE[None], facts)
    assert open_pictures(tmp_path / "o.tif", 2)[0].facts.spacing == (0.5, 0.25)
    assert lost(facts, ".tif") is None


def test_a_unit_that_is_not_ascii_is_written_as_imagej_does(tmp_path):
    write_stack(tmp_path / "o.tif", PICTURE[None], CALIBRATED)
    with tifffile.TiffFile(tmp_path / "o.tif") as new:
        assert new.imagej_metadata["unit"] == "\\u00B5m"
    assert open_pictures(tmp_path / "o.tif", 2)[0].facts.unit == "µm"


STACK = np.random.default_rng(1).integers(0, 256, (3, 4, 20, 24), np.uint8)


@pytest.mark.parametrize("kind", ["imagej", "ome"])
@pytest.mark.parametrize("dims", [2, 3])
def test_time_and_depth_come_back(kind, dims, written, tmp_path):
    """A network of volumes sees one volume a time point: its result is each time point's own."""
    more = {"PhysicalSizeX": 1.0, "PhysicalSizeY": 1.0, "PhysicalSizeZ": 3.0} if kind == "ome" else {"spacing": 3.0}
    metadata = {"axes": "TZYX", **more}
    tifffile.imwrite(tmp_path / "e.tif", STACK, **{kind: True}, metadata=metadata)
    pictures = open_pictures(tmp_path / "e.tif", dims)
    assert [p.shape for p in pictures] == ([(4, 20, 24, 1)] * 3 if dims == 3 else [(20, 24, 1)] * 12)
    predicted(tmp_path / "e.tif", tmp_path / "out.tif", dims)
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert new.series[0].axes == "TZYX"
        np.testing.assert_array_equal(new.asarray(), STACK > 127)
        if kind == "imagej" and written == "whole":
            assert new.imagej_metadata["frames"] == 3
            assert new.imagej_metadata["spacing"] == 3.0


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_a_data_set_has_one_volume_a_time_point(opened, tmp_path):
    for part, array in (("images", STACK), ("labels", (STACK > 127).astype(np.uint8))):
        (tmp_path / part).mkdir()
        tifffile.imwrite(tmp_path / part / "e.tif", array, imagej=True, metadata={"axes": "TZYX"})
    data: Dataset = opened(tmp_path, 3)
    assert data.names == ("e-00", "e-01", "e-02")
    for index, (image, label) in enumerate(zip(data.images, data.labels, strict=True)):
        np.testing.assert_array_equal(np.asarray(image)[..., 0], STACK[index])
        np.testing.assert_array_equal(np.asarray(label), STACK[index] > 127)


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
@pytest.mark.parametrize("dims", [2, 3])
def test_a_label_whose_pages_are_in_another_order_follows_its_image(opened, dims, tmp_path):
    truth = (STACK > 127).astype(np.uint8)
    for part, array, axes in (("images", STACK, "TZYX"), ("labels", truth.swapaxes(0, 1), "ZTYX")):
        (tmp_path / part).mkdir()
        tifffile.imwrite(tmp_path / part / "e.ome.tif", array, metadata={"axes": axes})
    data: Dataset = opened(tmp_path, dims)
    for image, label in zip(data.images, data.labels, strict=True):
        np.testing.assert_array_equal(np.asarray(image)[..., 0] > 127, np.asarray(label))
    if opened is open_dataset or dims == 2:
        assert any("planes taken in the order of their image" in line for line in data.decisions)


def test_a_label_with_other_time_points_than_its_image_is_refused(tmp_path):
    for part, array in (("images", STACK), ("labels", (STACK > 127).astype(np.uint8).reshape(4, 3, 20, 24))):
        (tmp_path / part).mkdir()
        tifffile.imwrite(tmp_path / part / "e.ome.tif", array, metadata={"axes": "TZYX"})
    with pytest.raises(InputError, match="the image has 3 time points of 4 planes, its label 4 of 3"):
        open_dataset(tmp_path)


def test_pages_of_other_axes_correspond_as_they_are():
    image = FileFacts(axes="TZCYX", sizes=(2, 3, 4, 8, 8))
    for axes, sizes in (("TZYX", (2, 3, 8, 8)), ("QYX", (6, 8, 8)), ("ZYX", (6, 8, 8)), ("", ())):
        assert page_order(image, FileFacts(axes=axes, sizes=sizes)) is None


def test_windows_of_volumes_are_of_their_own_time(tmp_path):
    array = np.moveaxis(STACK, 0, 1)  # Z before T
    tifffile.imwrite(tmp_path / "z.tif", array, photometric="minisblack", metadata={"axes": "ZTYX"})
    pictures = open_pictures(tmp_path / "z.tif", 3, whole_below=0)
    assert len(pictures) == 3
    np.testing.assert_array_equal(pictures[2][1:3, 4:9, :5][..., 0], STACK[2, 1:3, 4:9, :5])


def positions(path, *planes, steps=(0.5, 0.5)):
    """An OME-TIFF of several positions."""
    with tifffile.TiffWriter(path, ome=True) as tiff:
        for array, step in zip(planes, steps, strict=True):
            sizes = {"PhysicalSizeX": step, "PhysicalSizeY": step, "PhysicalSizeZ": 3.0}
            tiff.write(array, photometric="minisblack", metadata={"axes": "ZYX", **sizes})


def test_every_position_is_a_volume_of_its_own(written, tmp_path):
    positions(tmp_path / "p.ome.tif", STACK[0], STACK[1])
    pictures = open_pictures(tmp_path / "p.ome.tif", 3)
    assert [picture.shape for picture in pictures] == [(4, 20, 24, 1)] * 2
    assert pictures[0].facts.spacing == (3.0, 0.5, 0.5)
    np.testing.assert_array_equal(pictures[1][:, :, :][..., 0], STACK[1])
    predicted(tmp_path / "p.ome.tif", tmp_path / "out.tif", 3)
    with tifffile.TiffFile(tmp_path / "out.tif") as new:
        assert new.series[0].axes == "TZYX"
        np.testing.assert_array_equal(new.asarray(), STACK[:2] > 127)
    assert open_pictures(tmp_path / "out.tif", 3)[0].facts.spacing == (3.0, 0.5, 0.5)


def test_positions_that_differ(tmp_path):
    positions(tmp_path / "p.ome.tif", STACK[0], STACK[1], steps=(0.5, 0.25))
    assert open_pictures(tmp_path / "p.ome.tif", 3)[0].facts.spacing is None
    positions(tmp_path / "q.ome.tif", STACK[0], STACK[1, :3])
    assert len(open_pictures(tmp_path / "q.ome.tif", 2)) == 7
    with pytest.raises(InputError, match=r"q.ome.tif: holds images with different numbers of planes"):
        open_pictures(tmp_path / "q.ome.tif", 3)


def test_what_says_no_depth_is_one_volume():
    assert volumes(FileFacts(axes="TYX", sizes=(5, 8, 8)), 5) == [[0, 1, 2, 3, 4]]
    assert volumes(FileFacts(), 3) == [[0, 1, 2]]


def test_a_file_that_cannot_hold_the_place_is_named(tmp_path):
    tifffile.imwrite(tmp_path / "t.tif", PICTURE, extratags=GEO)
    [heard] = predicted(tmp_path / "t.tif", tmp_path / "out.png")
    assert ".png cannot store the georeference of the image; .tif can" in heard
    turned = FileFacts(turned=True, orientation=6, extra=(("geotiff", ()),))
    assert "the georeference of the image is not written, since its pixels were turned" in lost(turned, ".tif")


@pytest.mark.parametrize(
    ("kept", "ending", "words"),
    [
        ("nifti", ".tif", "the affine of the image; .nii.gz can"),
        ("nifti", ".nii", None),
        ("multiscales", ".npy", "the pixel size of the image; .zarr can"),
        ("multiscales", ".zarr", None),
        ("imagej", ".zarr", "the pixel size of the image; .tif can"),
        ("imagej", ".nii.gz", None),
    ],
)
def test_the_ending_that_holds_it_is_named(kept, ending, words):
    found = lost(FileFacts(spacing=(2.0, 1.0), extra=((kept, b""),)), ending)
    assert found == (None if words is None else f"{ending} cannot store {words}")
    assert lost(FileFacts(), ending) is None


@pytest.mark.parametrize(
    ("axes", "sizes", "pages", "dims", "expected"),
    [
        ("ZTYX", (3, 2, 20, 24), 6, 2, ("ZT", (3, 2))),  # as in the file
        ("ZTYX", (3, 2, 20, 24), 6, 3, ("TZ", (2, 3))),  # a volume's planes follow each other
        ("TZYX", (2, 3, 20, 24), 6, 3, ("TZ", (2, 3))),
        ("TZYX", (2, 1, 20, 24), 2, 2, ("T", (2,))),
        ("CZYX", (2, 3, 20, 24), 3, 2, ("Z", (3,))),
        ("ZYX", (3, 20, 24), 4, 2, None),
        ("YX", (20, 24), 1, 2, None),
    ],
)
def test_pages_are_counted_by_the_axes_of_the_file(axes, sizes, pages, dims, expected):
    assert counted_axes(FileFacts(axes=axes, sizes=sizes), pages, dims) == expected
