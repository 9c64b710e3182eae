"""Declared nodata: IGNORED in the label, in memory and by windows; no part in the statistics; 0 on input."""

import numpy as np
import pytest
import tifffile

from unet_data import Normalization, OpenNetwork, open_dataset, open_stored, predict_file, read_image
from unet_data.datasets.check import class_shares
from unet_data.io.images import as_image
from unet_spec import DataSpec, preset

IMAGE = np.random.default_rng(0).uniform(0, 1, (20, 24)).astype(np.float32)
LABEL = (IMAGE > 0.5).astype(np.uint8)
MISSING = np.zeros(IMAGE.shape, bool)
MISSING[:6, 4:] = True


def folder(path, nodata, name="g", declared=True):
    """An image with pixels without data, as GDAL declares them, and its label."""
    for part in ("images", "labels"):
        (path / part).mkdir(parents=True, exist_ok=True)
    tags = [(42113, "s", 0, str(nodata), True)] * declared
    stored = np.where(MISSING, np.float32(nodata), IMAGE)
    tifffile.imwrite(path / "images" / f"{name}.tif", stored, extratags=tags)
    tifffile.imwrite(path / "labels" / f"{name}.tif", LABEL)
    return path


@pytest.mark.parametrize("opened", [open_dataset, open_stored])
@pytest.mark.parametrize("nodata", [-9999.0, float("nan"), float(np.finfo(np.float32).min)])
def test_pixels_without_data_count_nowhere(nodata, opened, tmp_path):
    data = opened(folder(tmp_path, nodata))
    label = np.asarray(data.labels[0])
    np.testing.assert_array_equal(label == -1, MISSING)
    np.testing.assert_array_equal(label[~MISSING], LABEL[~MISSING])
    normal = Normalization.from_dataset(data)
    assert normal.mean[0] == pytest.approx(IMAGE[~MISSING].mean(), abs=1e-6)
    assert normal.std[0] == pytest.approx(IMAGE[~MISSING].std(), abs=1e-6)
    assert (normal.apply(np.asarray(data.images[0]))[MISSING] == 0).all()
    assert class_shares(data)[1] == pytest.approx(MISSING.mean())


def test_a_slice_of_a_stored_label_is_ignored_in_the_right_place(tmp_path):
    label = open_stored(folder(tmp_path, -9999.0)).labels[0]
    np.testing.assert_array_equal(label[2:][(slice(1, 9), slice(0, 24))] == -1, MISSING[3:11])


def test_what_is_not_declared_is_a_value(tmp_path):
    data = open_dataset(folder(tmp_path, -9999.0, declared=False))
    assert data.nodata is None
    assert (data.labels[0] >= 0).all()


class Seen:
    """A network that shows what it was given."""

    name, config = "seen", preset("same", widths=(2, 4))

    def run(self, images):
        return np.concatenate([np.zeros_like(images), images], -1)


@pytest.mark.parametrize("stored", [-9999.0, -1.0])
def test_a_file_is_filled_by_what_it_declares_itself(stored, tmp_path):
    """Trained with -9999, given a file that declares another value."""
    data = DataSpec((0.5,), (0.25,), nodata=-9999.0)
    source = folder(tmp_path, stored) / "images" / "g.tif"
    predict_file(OpenNetwork(Seen(), data), source, tmp_path / "out.npy", settings("logits"))
    seen = np.load(tmp_path / "out.npy")[..., 1]
    assert (seen[MISSING] == 0).all()
    np.testing.assert_allclose(seen[~MISSING], (IMAGE[~MISSING] - 0.5) / 0.25, atol=1e-5)


@pytest.mark.parametrize("name", ["image", "percentile"])
def test_every_tile_is_normalised_as_the_whole_image(name, tmp_path):
    source = folder(tmp_path, -9999.0) / "images" / "g.tif"
    data = DataSpec(normalization=name)
    whole = Normalization.of(DataSpec(normalization=name, nodata=-9999.0), read_image(source)).apply(read_image(source))
    predict_file(OpenNetwork(Seen(), data), source, tmp_path / "out.npy", settings("logits", tile=18))
    np.testing.assert_allclose(np.load(tmp_path / "out.npy")[..., 1], whole[..., 0], atol=1e-6)


def settings(output, **more):
    from unet_data import PredictSettings

    return PredictSettings(output, **more)


def test_a_double_below_float32_stays_no_data():
    raw = np.array([-1.7976931348623157e308, 2.0])
    found = as_image(raw, "a.tif", nodata=float(raw[0]))
    assert found.tolist() == [float(np.finfo(np.float32).min), 2.0]
