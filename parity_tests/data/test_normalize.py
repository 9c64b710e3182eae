"""Normalisation by all training pixels, by each image, by percentiles, as in CT; pixels without data."""

import numpy as np
import pytest

import unet_data.normalize
import unet_data.windows
from unet_data import Dataset, Normalization
from unet_data.io.facts import FileFacts
from unet_data.normalize import full_scale, normalization_of, resolved, sample, statistics_note, statistics_windows
from unet_spec import DataSpec, InputError


def dataset_of(*images):
    return Dataset(tuple(images), None, tuple(str(i) for i in range(len(images))), (), "here")


@pytest.mark.parametrize(("dtype", "scale"), [(np.uint8, 255), (np.uint16, 65535), (np.float32, 1)])
def test_statistics_are_those_of_all_pixels(dtype, scale):
    rng = np.random.default_rng(0)
    images = [(rng.random((h, w, 3)) * [0.3, 0.9, 1.0] * scale).astype(dtype) for h, w in ((7, 9), (3, 20), (30, 4))]
    found = Normalization.from_dataset(dataset_of(*images))
    pixels = np.concatenate([image.reshape(-1, 3) for image in images]).astype(np.float64) / scale
    np.testing.assert_allclose(found.mean, pixels.mean(axis=0), rtol=1e-12)
    np.testing.assert_allclose(found.std, pixels.std(axis=0), rtol=1e-12)
    normal = found.apply(images[0])
    assert normal.dtype == np.float32
    expected = (images[0].astype(np.float64) / scale - found.mean) / found.std
    np.testing.assert_allclose(normal, expected, atol=2e-6)


def test_a_large_mean_does_not_cancel():
    rng = np.random.default_rng(0)
    images = [(1e5 + rng.normal(size=(20, 20, 1))).astype(np.float32) for _ in range(3)]
    pixels = np.concatenate(images).astype(np.float64)
    np.testing.assert_allclose(Normalization.from_dataset(dataset_of(*images)).std, [pixels.std()], rtol=1e-9)


@pytest.mark.parametrize("image", [np.full((4, 5, 1), 77, np.uint8), np.full((4, 5, 1), 0.1, np.float32)])
def test_a_constant_channel_becomes_zero(image):
    found = Normalization.from_dataset(dataset_of(image, image))
    assert found.std == (1.0,)
    np.testing.assert_allclose(found.apply(image), 0, atol=1e-6)
    black = Normalization.from_dataset(dataset_of(image * 0))
    assert (black.apply(image * 0) == 0).all()


def test_apply_leaves_its_input_alone():
    image = np.ones((3, 3, 1), np.float32)
    Normalization((0.5,), (2.0,)).apply(image)
    assert (image == 1).all()


def test_wrong_channels_and_dtypes_are_refused():
    norm = Normalization((0.5,), (1.0,))
    with pytest.raises(InputError, match=r"3 channel.* is for 1"):
        norm.apply(np.zeros((4, 4, 3), np.uint8))
    with pytest.raises(InputError, match="int64"):
        norm.apply(np.zeros((4, 4, 1), np.int64))


def test_what_holds_no_data_takes_no_part_and_becomes_zero():
    image = np.array([[[0.0], [2.0], [-9999.0]], [[2.0], [np.nan], [0.0]]], np.float32)
    dataset = Dataset((image,), None, ("a",), (), "here", facts=(FileFacts(nodata=-9999.0),))
    normal = Normalization.from_dataset(dataset)
    assert normal.mean == (1.0,)
    assert normal.std == (1.0,)
    assert normal.apply(image)[..., 0].tolist() == [[-1, 1, 0], [1, 0, -1]]


def test_files_that_declare_different_values_are_refused_by_name():
    images = (np.zeros((2, 2, 1), np.float32),) * 2
    facts = FileFacts(nodata=-1.0), FileFacts(nodata=-9999.0)
    with pytest.raises(InputError, match="a declares -1 as nodata but b -9999"):
        _ = Dataset(images, None, ("a", "b"), (), "here", facts=facts).nodata
    alike = Dataset(images, None, ("a", "b"), (), "here", facts=(FileFacts(nodata=np.nan),) * 2)
    assert np.isnan(alike.nodata)


@pytest.mark.parametrize("name", ["image", "percentile"])
def test_half_the_exposure_makes_no_difference(name):
    image = np.random.default_rng(0).uniform(10, 200, (40, 30, 2)).astype(np.float32)
    data = normalization_of(Dataset((image,), None, ("a",), (), "here"), name)
    found = [Normalization.of(data, each).apply(each) for each in (image, image / 2)]
    np.testing.assert_allclose(*found, atol=1e-5)


def test_a_percentile_is_numpys_and_the_bands_do_not_matter(monkeypatch):
    image = np.random.default_rng(0).integers(0, 256, (50, 31, 1)).astype(np.uint8)
    low, high = np.percentile(image / 255, (1, 99))
    data = DataSpec(normalization="percentile")
    normal = Normalization.of(data, image)
    np.testing.assert_allclose((normal.mean[0], normal.std[0]), (low, high - low), rtol=1e-12)
    whole = sample(image, pixels=100)
    monkeypatch.setattr(unet_data.windows, "BAND", 3 * 31)
    np.testing.assert_array_equal(sample(image, pixels=100), whole)
    assert Normalization.of(data, image) == normal
    assert resolved(data, image) == DataSpec(normal.mean, normal.std)


def test_ct_is_of_the_other_classes_than_the_first():
    image = np.arange(200, dtype=np.float32).reshape(10, 20, 1)
    label = (image[..., 0] >= 100).astype(np.int32)
    data = normalization_of(Dataset((image,), (label,), ("a",), ("x", "y"), "here"), "ct")
    assert data.mean == (149.5,)
    np.testing.assert_allclose(data.low + data.high, np.percentile(np.arange(100, 200), (0.5, 99.5)))
    seen = Normalization.of(data, image).apply(image)
    assert seen.min() == pytest.approx((data.low[0] - 149.5) / data.std[0], abs=1e-5)


def test_no_normalisation_leaves_floats_and_divides_integers():
    data = normalization_of(Dataset((np.zeros((2, 2, 1), np.uint8),), None, ("a",), (), "here"), "none")
    assert data == DataSpec(normalization="none")
    assert Normalization.of(data, np.zeros((1, 1, 1))).apply(np.full((1, 1, 1), 255, np.uint8)).item() == 1


@pytest.mark.parametrize(("size", "side"), [((300, 400), 32), ((40, 50, 60), 8)])
def test_statistics_of_many_pixels_are_those_of_some_blocks(size, side, monkeypatch):
    monkeypatch.setattr(unet_data.normalize, "STATISTICS", 30_000)
    monkeypatch.setitem(unet_data.normalize.BLOCK, len(size), side)
    rng = np.random.default_rng(0)
    read = np.zeros(size, int)
    small, large = statistics_windows([(16,) * len(size), size])
    assert 1 <= len(small) <= 2
    for window in large:
        assert all(s.start % side == 0 for s in window)
        read[window] += 1
    assert read.max() == 1
    assert 20_000 < read.sum() < 40_000
    assert statistics_windows([(16,) * len(size), size])[1] == large
    image = rng.integers(0, 200, (*size, 1), np.uint8)
    image[read == 0] = 255
    one = dataset_of(image[..., :1])
    windows = statistics_windows([size])[0]
    expected = np.concatenate([image[w].reshape(-1) for w in windows]) / 255
    found = Normalization.from_dataset(one)
    np.testing.assert_allclose([found.mean[0], found.std[0]], [expected.mean(), expected.std()], rtol=1e-9)
    blocks = "x".join([str(side)] * len(size))
    assert f"from {len(windows)} blocks of {blocks} pixels, as the images have 1.2e+05 pixels" in statistics_note(
        one, "dataset"
    )
    assert statistics_note(one, "image") == ""


def test_limits_are_those_that_papers_and_the_docstrings_state():
    """0.5 and 99.5: Isensee et al. 2021. All pixels of images below 4 Mpx and of data sets below 268 Mpx are read."""
    assert unet_data.normalize.CT_PERCENTILES == (0.5, 99.5)
    assert unet_data.normalize.PERCENTILES == (1.0, 99.0)
    assert unet_data.normalize.SAMPLES == 4 * 1024**2
    assert unet_data.normalize.STATISTICS == 256 * 1024**2
    assert unet_data.normalize.BLOCK == {2: 1024, 3: 128}
    for side, whole in ((16384, True), (40000, False)):
        [windows] = statistics_windows([(16384, side)])
        read = sum((w[0].stop - w[0].start) * (w[1].stop - w[1].start) for w in windows)
        assert (read == 16384 * side) == whole


@pytest.mark.parametrize(
    ("mean", "std"),
    [((), ()), ((1.0,), ()), ((1.0,), (1.0, 2.0)), ((np.nan,), (1.0,)), ((np.inf,), (1.0,)), ((1.0,), (0.0,)),
     ((1.0,), (-1.0,)), ((1.0,), (np.inf,)), ((1.0, 2.0), (1.0, np.nan))],
)  # fmt: skip
def test_means_and_deviations_are_finite_and_of_each_channel(mean, std):
    with pytest.raises(InputError, match="a normalization needs"):
        Normalization(mean, std)


def test_clipping_comes_first_in_the_units_of_the_mean():
    image = np.array([0, 51, 102, 255], np.uint8).reshape(2, 2, 1)
    found = Normalization((0.2,), (0.1,), (0.3,), (0.6,)).apply(image)
    np.testing.assert_allclose(found.ravel(), [1, 1, 2, 4], rtol=1e-5)
    assert found.dtype == np.float32


@pytest.mark.parametrize(("deviation", "constant"), [(0.9e-6, True), (1.2e-6, False)])
def test_a_channel_is_constant_within_a_millionth_of_its_mean(deviation, constant):
    image = np.array([1 - deviation, 1 + deviation], np.float32).reshape(1, 2, 1)
    found = Normalization.from_dataset(dataset_of(image))
    assert (found.std == (1.0,)) is constant


def test_a_sample_is_every_kth_pixel_of_each_channel_that_counts():
    image = np.arange(60, dtype=np.float32).reshape(5, 6, 2)
    label = np.ones((5, 6), np.int32)
    label[0, 0] = 0
    assert [values.tolist() for values in sample(image, pixels=10)] == [list(range(c, 60, 6)) for c in (0, 1)]
    first, second = sample(image, nodata=13.0, label=label, pixels=10)
    assert (first.tolist(), second.tolist()) == (list(range(6, 60, 6)), [v for v in range(7, 60, 6) if v != 13])
    assert len(sample(image, pixels=0)[0]) == 1
    assert sample((image * 255).astype(np.uint16))[1][0] == 255 / 65535


def test_dtypes_have_a_full_scale():
    assert [full_scale(np.dtype(name)) for name in ("u1", "u2", "f2", "f8")] == [255, 65535, 1, 1]
    for name in ("i2", "u4", "bool"):
        with pytest.raises(InputError, match="images are uint8, uint16 or floating point"):
            full_scale(np.dtype(name))
