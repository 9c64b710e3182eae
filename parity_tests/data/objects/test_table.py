"""Measurements of objects against scikit-image, by blocks, and as files."""

import csv

import numpy as np
import pytest
from skimage.measure import perimeter_crofton, regionprops

from unet_data import measure_objects, objects_of
from unet_data.objects.table import check_table, with_units, write_table
from unet_data.windows import bands
from unet_spec import InputError

from .maps import blobs


def labelled(shape=(61, 83), seed=0):
    labels, _ = objects_of(blobs(shape, seed, sigma=2.0 if len(shape) == 2 else 1.2), dims=len(shape))
    return labels


@pytest.mark.parametrize("shape", [(61, 83), (15, 17, 19)])
def test_against_scikit_image(shape):
    labels = labelled(shape)
    image = np.random.default_rng(0).integers(0, 60000, (*shape, 2)).astype(np.uint16)
    got = measure_objects(labels, image, int(labels.max()))
    dims, names = len(shape), ("z", "y", "x")[-len(shape) :]
    for i, region in enumerate(regionprops(labels.astype(int), image)):
        assert got["object"][i] == region.label
        assert got["area"][i] == region.area
        np.testing.assert_allclose([got[n][i] for n in names], region.centroid, rtol=1e-12)
        assert [got[f"{n}_min"][i] for n in names] == list(region.bbox[:dims])
        assert [got[f"{n}_max"][i] for n in names] == list(region.bbox[dims:])
        for c in range(2):
            np.testing.assert_allclose(got[f"mean_{c}"][i], region.intensity_mean[c], rtol=1e-12)
            assert [got[f"min_{c}"][i], got[f"max_{c}"][i]] == [region.intensity_min[c], region.intensity_max[c]]
        np.testing.assert_allclose(got["diameter"][i], region.equivalent_diameter_area, rtol=1e-12)
        if dims == 2:
            np.testing.assert_allclose(got["major"][i], region.axis_major_length, rtol=1e-9)
            np.testing.assert_allclose(got["minor"][i], region.axis_minor_length, rtol=1e-9)
            np.testing.assert_allclose(got["eccentricity"][i], region.eccentricity, rtol=1e-7, atol=1e-7)
            np.testing.assert_allclose(got["perimeter"][i], perimeter_crofton(region.image, 2), rtol=1e-12)
            if region.eccentricity > 0.1:
                turn = (got["orientation"][i] - region.orientation) / np.pi
                assert abs(turn - round(turn)) < 1e-7


def test_the_axes_of_a_box_in_3d():
    box = np.zeros((9, 9, 30), int)
    box[2:4, 2:7, 3:28] = 1  # variance of 1 … n: (n² − 1) / 12
    got = measure_objects(box, None, 1)
    lengths = [float(got[name][0]) for name in ("major", "middle", "minor")]
    np.testing.assert_allclose(lengths, [np.sqrt(20 * (n * n - 1) / 12) for n in (25, 5, 2)])


@pytest.mark.parametrize("dtype", [np.uint8, np.float32])
def test_blocks_do_not_change_a_row(dtype):
    labels = labelled()
    image = (np.random.default_rng(0).random((61, 83, 1)) * 200).astype(dtype)
    whole = measure_objects(labels, image, int(labels.max()))
    spans = [(slice(y, min(y + 7, 61)), slice(x, min(x + 30, 83))) for y in range(0, 61, 7) for x in range(0, 83, 30)]
    for other in (spans, spans[::-1], list(bands((61, 83), 100))):
        parts = measure_objects(labels, image, int(labels.max()), other)
        for name, values in whole.items():
            exact = dtype == np.uint8 or name != "mean_0"
            np.testing.assert_allclose(parts[name], values, rtol=0 if exact else 1e-12, err_msg=name)


@pytest.mark.parametrize("suffix", [".csv", ".parquet"])
def test_a_file_says_what_was_measured(tmp_path, suffix):
    labels = labelled()
    rows = measure_objects(labels, None, int(labels.max()))
    rows = {"class": np.array(["cell"] * len(rows["area"])), **with_units(rows, (0.5, 0.5), "um")}
    path = tmp_path / f"table{suffix}"
    check_table(path, overwrite=False)
    write_table(path, [rows, rows])
    if suffix == ".csv":
        with path.open() as file:
            read = list(csv.DictReader(file))
        columns = {name: [row[name] for row in read] for name in read[0]}
    else:
        from pyarrow import parquet

        columns = parquet.read_table(path).to_pydict()
    assert list(columns) == list(rows)
    n = len(rows["area"])
    for name, values in rows.items():
        expected = [*values.tolist()] * 2
        assert [type(v)(w) for v, w in zip(expected, columns[name], strict=True)] == expected, name
    assert float(columns["area_um2"][n - 1]) == rows["area"][-1] / 4
    assert float(columns["x_um"][0]) == rows["x"][0] / 2
    assert float(columns["perimeter_um"][0]) == rows["perimeter"][0] / 2
    with pytest.raises(InputError, match="--overwrite"):
        check_table(path, overwrite=False)
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        check_table(tmp_path / "a.xlsx", overwrite=False)


def test_unequal_steps_have_no_lengths_in_units():
    rows = with_units(measure_objects(np.ones((2, 2, 2), int), None, 1), (5.0, 1.0, 1.0), "um")
    assert rows["area_um3"].tolist() == [40.0]
    assert rows["z_um"].tolist() == [2.5]
    assert rows["diameter_um"][0] == pytest.approx((6 * 40.0 / np.pi) ** (1 / 3))  # the ball of 40 µm³
    assert "major_um" not in rows


def test_no_objects():
    rows = measure_objects(np.zeros((4, 4), int), np.zeros((4, 4, 1), np.uint8), 0)
    assert {len(values) for values in rows.values()} == {0}
