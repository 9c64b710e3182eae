"""What is decided about TIFF: white is zero, alpha, orientation, pictures beside the image, other files of a set."""

import numpy as np
import pytest
import tifffile

from unet_data import ReadSettings, open_pictures, read_labels, read_stack
from unet_data.io.decode import decode

from ..helpers import noise, refused, same_windows


def test_stored_numbers_of_labels_stay_where_white_is_zero(tmp_path):
    numbers = noise(5, 7).astype(np.uint16) % 9
    tifffile.imwrite(tmp_path / "a.tif", numbers, photometric="miniswhite")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], numbers)
    assert decode(tmp_path / "a.tif", "label")[1].white_is_zero == "stored"
    shown = read_labels(tmp_path / "a.tif", ReadSettings(white_is_zero="displayed"))
    np.testing.assert_array_equal(shown[0], 65535 - numbers)
    stored = read_stack(tmp_path / "a.tif", ReadSettings(white_is_zero="stored"))
    np.testing.assert_array_equal(stored[0, ..., 0], numbers)


def test_bits_of_a_fax_are_read_as_they_are_shown(tmp_path):
    mask = noise(5, 16) > 100
    tifffile.imwrite(tmp_path / "a.tif", ~mask, photometric="miniswhite")
    np.testing.assert_array_equal(read_labels(tmp_path / "a.tif")[0], mask)


@pytest.mark.parametrize("below", [0, 2**28], ids=["by windows", "whole"])
def test_decisions_are_those_of_the_whole_by_windows_too(tmp_path, below):
    """Alpha, orientation and inversion of a file of any size; the values and the facts."""
    rgba = noise(40, 50, 4)
    tag = [(274, 3, 1, 6, True)]
    tifffile.imwrite(
        tmp_path / "a.tif", rgba, photometric="rgb", extrasamples=["unassalpha"], extratags=tag, tile=(16, 16)
    )
    grey = rgba[..., :1].copy()
    tifffile.imwrite(tmp_path / "b.tif", grey[..., 0], photometric="miniswhite", extratags=tag, rowsperstrip=7)
    for name, expected in (("a", np.rot90(rgba[..., :3], -1)), ("b", 255 - np.rot90(grey, -1))):
        pictures = open_pictures(tmp_path / f"{name}.tif", 2, whole_below=below)
        same_windows(pictures, expected[None])
        assert pictures[0].facts.turned
    keep = open_pictures(tmp_path / "a.tif", 2, whole_below=below, settings=ReadSettings("all", "ignore"))
    same_windows(keep, rgba[None])
    assert (keep[0].facts.alpha, keep[0].facts.turned) == ("kept", False)


@pytest.mark.parametrize("orientation", range(1, 9))
def test_every_orientation_but_the_first_is_said(tmp_path, orientation):
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 7), extratags=[(274, 3, 1, orientation, True)])
    facts = decode(tmp_path / "a.tif")[1]
    assert (facts.orientation, facts.turned) == (orientation, orientation != 1)


def test_pictures_beside_a_slide_are_left_out_from_headers(tmp_path):
    """As Aperio's files: the image, a thumbnail, a label, a macro; the large image is never decoded here."""
    image = noise(64, 48, 3)
    with tifffile.TiffWriter(tmp_path / "a.svs") as tiff:
        tiff.write(image, photometric="rgb", description="Aperio Image Library v1\n48x64", tile=(16, 16), metadata=None)
        tiff.write(noise(16, 12, 3), photometric="rgb", description="Aperio Image Library v1\nthumb", metadata=None)
        for kind, subfile in (("label", 1), ("macro", 9)):
            text = f"Aperio Image Library v1\n{kind} 9x8"
            tiff.write(noise(8, 9, 3), photometric="rgb", description=text, subfiletype=subfile, metadata=None)
    for below in (0, 2**28):
        [picture] = open_pictures(tmp_path / "a.svs", 2, whole_below=below)
        same_windows([picture], image[None])
        assert [what.split()[1] for what in picture.facts.left_out] == ["thumbnail", "label", "macro"]


def test_pictures_of_different_kinds_are_refused_before_any_is_decoded(tmp_path, monkeypatch):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(16, 12), metadata=None)
        tiff.write(noise(8, 12), metadata=None)
    monkeypatch.setattr(tifffile.TiffPageSeries, "asarray", lambda *a, **k: pytest.fail("decoded"))
    assert "12x16x1 uint8, 12x8x1 uint8" in refused(read_stack, tmp_path / "a.tif")


def test_levels_of_a_pyramid_are_said(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(32, 32), subifds=1)
        tiff.write(noise(16, 16), subfiletype=1)
    pixels, facts = decode(tmp_path / "a.tif")
    assert pixels.shape == (1, 32, 32, 1)
    assert facts.left_out == ("1 smaller level of a pyramid",)


def test_a_file_of_a_set_of_ome_files_is_its_own_pages(tmp_path):
    xml = (
        '<?xml version="1.0"?><OME xmlns="http://www.openmicroscopy.org/Schemas/OME/2016-06" UUID="urn:uuid:{own}">'
        '<Image ID="Image:0"><Pixels ID="Pixels:0" DimensionOrder="XYZCT" Type="uint8" SizeX="6" SizeY="5" SizeZ="1" '
        'SizeC="1" SizeT="2"><Channel ID="Channel:0:0" SamplesPerPixel="1"/>'
        '<TiffData FirstT="0" PlaneCount="1"><UUID FileName="t0.ome.tif">urn:uuid:0</UUID></TiffData>'
        '<TiffData FirstT="1" PlaneCount="1"><UUID FileName="t1.ome.tif">urn:uuid:1</UUID></TiffData>'
        "</Pixels></Image></OME>"
    )
    planes = noise(2, 5, 6)
    for t in range(2):
        tifffile.imwrite(tmp_path / f"t{t}.ome.tif", planes[t], description=xml.format(own=t), metadata=None)
    for t in range(2):
        pixels, facts = decode(tmp_path / f"t{t}.ome.tif")
        np.testing.assert_array_equal(pixels[..., 0], planes[t : t + 1])
        assert facts.left_out == ("the other files that an OME-TIFF refers to",)


def test_declared_nodata_is_a_fact(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 6, dtype=np.float32), extratags=[(42113, 2, 6, "-9999", True)])
    assert decode(tmp_path / "a.tif")[1].nodata == -9999


def test_what_tifffile_logs_of_a_damaged_file_is_one_line_of_ours(tmp_path, caplog):
    tifffile.imwrite(tmp_path / "a.tif", np.stack([noise(5, 7)] * 3), photometric="minisblack", metadata=None)
    content = (tmp_path / "a.tif").read_bytes()
    (tmp_path / "a.tif").write_bytes(content[:-40])
    refused(read_stack, tmp_path / "a.tif")
    refused(open_pictures, tmp_path / "a.tif", 2, None, 0)
    assert not caplog.records


def test_series_of_one_kind_are_joined_in_their_order(tmp_path):
    pixels = noise(3, 16, 12)
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(pixels[:2], photometric="minisblack")
        tiff.write(pixels[2], photometric="minisblack")
    for below in (0, 2**28):
        same_windows(open_pictures(tmp_path / "a.tif", 2, whole_below=below), pixels[..., None])


@pytest.mark.parametrize(("text", "nodata"), [("-9999", -9999), ("nan\0", None), (" 0.5 ", 0.5), ("none", None)])
def test_a_value_for_no_data_is_a_number(tmp_path, text, nodata):
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 6), extratags=[(42113, 2, len(text) + 1, text, True)])
    found = decode(tmp_path / "a.tif")[1].nodata
    assert (found is None or found == nodata) if nodata is not None else found is None or np.isnan(found)
    assert nodata is None or found == nodata


@pytest.mark.parametrize("kinds", [["unassalpha"], ["unspecified", "assocalpha"], ["unspecified"]])
def test_only_alpha_is_dropped_of_further_channels(tmp_path, kinds):
    pixels = noise(9, 8, 3 + len(kinds))
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=kinds)
    alpha = [i for i, kind in enumerate(kinds) if kind.endswith("alpha")]
    expected = np.delete(pixels, [3 + i for i in alpha], -1)
    for below in (0, 2**28):
        [picture] = open_pictures(tmp_path / "a.tif", 2, whole_below=below)
        same_windows([picture], expected[None])
        assert picture.facts.alpha == ("dropped" if alpha else "")
    with_alpha = ReadSettings(channels="all")
    same_windows(open_pictures(tmp_path / "a.tif", 2, settings=with_alpha), pixels[None])


def test_axes_that_are_given_are_said_where_the_file_states_others(tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", noise(3, 9, 8), photometric="minisblack", metadata={"axes": "ZYX"})
    facts = decode(tmp_path / "a.tif", settings=ReadSettings(axes="TYX"))[1]
    assert facts.read_as == ("axes read as TYX, although the file states ZYX",)
    assert decode(tmp_path / "a.tif", settings=ReadSettings(axes="ZYX"))[1].read_as == ()
    assert (facts.axes, facts.sizes, facts.dtype) == ("TYX", (3, 9, 8), "uint8")


def test_an_orientation_that_tiff_does_not_define_is_none(tmp_path):
    for tag in (0, 9):
        tifffile.imwrite(tmp_path / "a.tif", noise(5, 7), extratags=[(274, 3, 1, tag, True)])
        facts = decode(tmp_path / "a.tif")[1]
        assert (facts.orientation, facts.turned) == (1, False)
    tifffile.imwrite(tmp_path / "a.tif", noise(5, 7), extratags=[(274, 3, 1, 6, True)])
    facts = decode(tmp_path / "a.tif", settings=ReadSettings(orientation="ignore"))[1]
    assert (facts.orientation, facts.turned) == (6, False)


def test_two_levels_are_counted(tmp_path):
    with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
        tiff.write(noise(32, 32), subifds=2)
        tiff.write(noise(16, 16), subfiletype=1)
        tiff.write(noise(8, 8), subfiletype=1)
    assert decode(tmp_path / "a.tif")[1].left_out == ("2 smaller levels of a pyramid",)


@pytest.mark.parametrize(("orientation", "spacing"), [(1, (0.5, 0.25)), (3, (0.5, 0.25)), (6, (0.25, 0.5))])
def test_a_pixel_size_turns_with_its_picture(orientation, spacing, tmp_path):
    options = {"resolution": (4, 2), "resolutionunit": "CENTIMETER", "extratags": [(274, 3, 1, orientation, True)]}
    tifffile.imwrite(tmp_path / "a.tif", noise(8, 9), **options)
    for below in (0, 2**28):
        [picture] = open_pictures(tmp_path / "a.tif", 2, whole_below=below)
        assert picture.facts.spacing == spacing
    stored = open_pictures(tmp_path / "a.tif", 2, settings=ReadSettings(orientation="ignore"))
    assert stored[0].facts.spacing == (0.5, 0.25)
