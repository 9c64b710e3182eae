"""Arrays that stay in their files, resampled by windows: equal to the data set resampled in memory."""

from __future__ import annotations

import pickle

import numpy as np
import pytest
import tifffile

from unet_data import ReadSettings, TargetSpacing, open_dataset, open_stored, resample_dataset
from unet_data.datasets.border_weights import weight_maps
from unet_data.datasets.stored import Stored, normalised
from unet_data.datasets.window_weights import window_weights
from unet_data.normalize import Normalization

RNG = np.random.default_rng(3)
SIZES = {2: (19, 33), 3: (9, 14, 21)}
PIXEL = {2: "0.5,1.25 mm", 3: "2,0.5,1.25 mm"}
TARGET = TargetSpacing((1.0, 1.0, 1.0), "mm")


def written(folder, dims=2, channels=1, dtype=np.uint8, kind="classes"):
    size = SIZES[dims]
    image = RNG.integers(0, 200, (*size, channels)).astype(dtype)
    image = image[..., 0] if channels == 1 else image
    if kind == "equal channels":
        image = np.repeat(image[..., None], 3, -1)
    blocks = np.add.outer(*(np.arange(n) // 6 for n in size[-2:])) * np.ones(size, int)
    label = (blocks % 3).astype(np.uint8) if kind != "objects" else (blocks + 1).astype(np.uint16) * 7
    for name, array in (("images", image), ("labels", label)):
        (folder / name).mkdir(parents=True)
        if channels == 1 and kind != "equal channels":
            tifffile.imwrite(folder / name / "a.tif", array)
        else:
            np.save(folder / name / "a.npy", array)
    return folder


def both(folder, dims=2, **more):
    """The resampled data set in memory, and that in files."""
    settings, target = ReadSettings(pixel_size=PIXEL[dims]), TargetSpacing(TARGET.size[-dims:], "mm")
    return [resample_dataset(read(folder, dims, settings=settings, **more), target)
            for read in (open_dataset, open_stored)]  # fmt: skip


def same_everywhere(stored, wanted):
    np.testing.assert_array_equal(np.asarray(stored), wanted)
    for start, stop in ((0, 5), (3, wanted.shape[0]), (wanted.shape[0] - 2, wanted.shape[0])):
        window = (slice(start, stop), *(slice(2, 9) for _ in wanted.shape[1:3]))[: len(stored.spatial)]
        np.testing.assert_array_equal(stored[window], wanted[window])


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
def test_windows_are_those_of_the_data_set_in_memory(tmp_path, dims, dtype):
    memory, stored = both(written(tmp_path, dims, dtype=dtype), dims)
    assert stored.stored
    assert (stored.spacing, stored.facts) == (memory.spacing, memory.facts)
    assert memory.images[0].shape != (*SIZES[dims], 1)
    for image, wanted in ((stored.images[0], memory.images[0]), (stored.labels[0], memory.labels[0])):
        assert (image.shape, image.dtype) == (wanted.shape, wanted.dtype)
        same_everywhere(image, wanted)


def test_objects_and_their_classes_stay_together(tmp_path):
    memory, stored = both(written(tmp_path, kind="objects"), kind="instance")
    same_everywhere(stored.instances[0], memory.instances[0])
    same_everywhere(stored.labels[0], memory.labels[0])


def test_colour_and_equal_channels(tmp_path):
    memory, stored = both(written(tmp_path / "colour", channels=3))
    same_everywhere(stored.images[0], memory.images[0])
    memory, stored = both(written(tmp_path / "equal", kind="equal channels"))
    assert stored.images[0].shape[-1] == 3
    grey, wanted = stored.for_channels(1), memory.for_channels(1)
    assert grey.images[0].shape == wanted.images[0].shape
    same_everywhere(grey.images[0], wanted.images[0])


def test_pixels_without_a_class_stay_without(tmp_path):
    memory, stored = both(written(tmp_path), ignore=2)
    assert (np.asarray(stored.labels[0]) == -1).any()
    same_everywhere(stored.labels[0], memory.labels[0])


def test_what_training_makes_of_them_is_the_same(tmp_path):
    """Normalised images, border weights, planes of a stack, and a copy in another process."""
    memory, stored = both(written(tmp_path, kind="objects"), kind="instance")
    normal = Normalization.from_dataset(memory)
    assert Normalization.from_dataset(stored) == normal
    np.testing.assert_allclose(
        np.asarray(normalised(stored.images[0], normal)), normal.apply(memory.images[0]), atol=1e-6
    )
    [wanted] = weight_maps(memory, 10, 5, True)
    [weights] = window_weights(stored, 10, 5, True)
    np.testing.assert_array_equal(weights[2:9, 3:12], wanted[2:9, 3:12])
    part = stored.images[0][3:8]
    assert isinstance(part, Stored)
    np.testing.assert_array_equal(np.asarray(part), memory.images[0][3:8])
    np.testing.assert_array_equal(np.asarray(pickle.loads(pickle.dumps(part))), memory.images[0][3:8])


def test_masks_of_single_objects_are_resampled_in_memory(tmp_path):
    """Images stay in their files; labels that several files make up do not."""
    folder = written(tmp_path)
    (folder / "labels" / "a.tif").unlink()
    (folder / "labels" / "a").mkdir()
    for number in range(2):
        mask = np.zeros(SIZES[2], np.uint8)
        mask[2 + 8 * number : 8 + 8 * number, 4:20] = 255
        tifffile.imwrite(folder / "labels" / "a" / f"{number}.tif", mask)
    memory, stored = both(folder)
    assert isinstance(stored.images[0], Stored)
    np.testing.assert_array_equal(stored.labels[0], memory.labels[0])
    same_everywhere(stored.images[0], memory.images[0])
