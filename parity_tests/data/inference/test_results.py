"""The ways to compute a result: each tile of each page, and that reading, computing and writing overlap."""

import threading
from collections.abc import Iterable
from types import SimpleNamespace

import numpy as np
import pytest

from unet_data import OpenNetwork, PredictSettings
from unet_data.inference.output import Output
from unet_data.inference.results import by_samples, by_strips, by_tiles, whole, write_results
from unet_data.inference.store import TileStore
from unet_spec import DataSpec, random_tensors
from unet_spec.families.unet import PRESETS
from unet_spec.tiling.planner import Plan
from unet_spec.tiling.tiles import plan_tiles

EXACT = {n: c for n, c in PRESETS.items() if c.geometry.shift_invariant}


def test_reading_computing_and_writing_overlap(tmp_path):
    """Each waits for the others' next piece of work: one after the other, this would wait forever."""
    config, run = runs()
    plan = plan_tiles(config.geometry, (150, 60), 60)
    read, computed = threading.Semaphore(0), threading.Semaphore(0)
    image = np.random.default_rng(0).integers(0, 255, (150, 60, 1)).astype(np.uint8)

    class Picture:
        shape, ndim = image.shape, 3

        def __getitem__(self, window):
            read.release()
            return image[window]

    count = len(plan)
    calls = []

    def overlapping(x):
        calls.append(x)
        if len(calls) < count:
            assert all(read.acquire(timeout=20) for _ in range(2 if len(calls) == 1 else 1)), "the next is not read"
        computed.release()
        return run(x)

    class Store(TileStore):
        def put(self, number, pixels):
            wanted = 2 if number == 0 else 1 if number + 1 < count else 0
            assert all(computed.acquire(timeout=20) for _ in range(wanted)), "the next is not computed"
            super().put(number, pixels)

    store = Store(tmp_path, plan, 1, (), np.dtype(np.uint8))
    network = OpenNetwork(SimpleNamespace(name="numpy", config=config, run=overlapping), DataSpec())
    results = by_tiles(network, [Picture()], Plan(plan, 1, 0, 0, 0, 0.0), range(count), PredictSettings())
    write_results(results, store, Output())
    assert len(calls) == count > 3
    assert store.done() == set(range(count))


# --- test-time augmentation and blending ------------------------------------------------------------------------------


def runs(name="paper"):
    config = EXACT[name].replace(widths=(2, 4), dropout=0.0)
    tensors = random_tensors(config.graph, 3, np.float64)
    return config, lambda x: config.graph.forward(tensors, x)


SAME = EXACT["same"].replace(widths=(2, 4))
TILES = plan_tiles(SAME.geometry, (40, 56), (24, 24), halo=4)
PICTURES = np.random.default_rng(0).integers(0, 255, (3, 40, 56, 1)).astype(np.uint8)
VALUES = PICTURES / np.float32(255)


def plain(images):
    """Class 1 where it is bright; 0 and 1 are no probabilities, but logits."""
    return np.concatenate([0 * images, images], -1)


def network_of(run, config=SAME, **more):
    return OpenNetwork(SimpleNamespace(name="numpy", config=config, run=run, **more), DataSpec())


def check(found: Iterable, numbers, expected, tiles=TILES):
    """`found` are the tiles `numbers` of `expected` (pages, H, W, K)."""
    found = list(found)
    assert [number for number, _ in found] == numbers
    for number, logits in found:
        page, tile = divmod(number, len(tiles))
        np.testing.assert_allclose(logits, expected[page][tiles[tile].target], atol=1e-5)


NUMBERS = [1, 4, len(TILES), len(TILES) + 2, 2 * len(TILES) + 5]


@pytest.mark.parametrize("way", [by_tiles, whole])
def test_the_tiles_of_every_page_are_those_that_are_asked_for(way):
    plan, sizes = Plan(TILES, 2, 0, 0, 0, 0.0), []

    def run(images):
        sizes.append(len(images))
        return plain(images)

    settings = PredictSettings(blend=way is whole)
    check(way(network_of(run), PICTURES, plan, NUMBERS[::-1], settings), NUMBERS, plain(VALUES))
    assert max(sizes) == (1 if way is whole else 2)


@pytest.mark.parametrize("augment", ["flips", "turns", "rotations"])
def test_views_are_averaged(augment):
    """A network that prefers the upper left: its mean over symmetric views does so no longer."""
    calls = []

    def run(images):
        calls.append(images.shape)
        rows = np.linspace(-1, 1, images.shape[1])[None, :, None, None] * np.ones_like(images)
        return np.concatenate([0 * rows, rows], -1).astype(np.float32)

    plan = Plan(plan_tiles(SAME.geometry, (40, 40)), 1, 0, 0, 0, 0.0)
    pictures, settings = PICTURES[:1, :, :40], PredictSettings(augment=augment)
    compute = whole if settings.whole else by_tiles
    [(number, logits)] = compute(network_of(run), pictures, plan, [0], settings)
    assert number == 0
    assert len(calls) == (7 if augment == "rotations" else 4)
    difference = logits[..., 1] - logits[..., 0]
    assert abs(difference[0].mean()) < (0.3 if augment == "rotations" else 1e-5)


def test_samples_of_each_image_are_its_pages_with_their_own_noise():
    from unet_spec import preset
    from unet_spec.ops import draw_noise

    config = preset("probabilistic-unet", out_channels=2)
    tiles = plan_tiles(config.geometry, (40, 56))
    noises = []

    def run(windows, noise):
        noises.append(noise)
        return plain(windows) * noise[:, :1, None, None]

    settings = PredictSettings(samples=2, seed=5)
    plan, numbers = Plan(tiles, 1, 0, 0, 0, 0.0), [0, 1, 5]
    noise = [draw_noise(config.graph, 2, 5, index) for index in (0, 2)]
    expected = np.zeros((6, 40, 56, 2))
    for page, (index, k) in {0: (0, 0), 1: (0, 1), 5: (1, 1)}.items():
        expected[page] = plain(VALUES[page // 2]) * noise[index][k, 0]
    check(by_samples(network_of(run, config), PICTURES, plan, numbers, settings), numbers, expected, tiles)
    np.testing.assert_array_equal(noises, noise)


def test_strips_give_the_bands_of_every_page():
    from unet_spec.tiling.strips import plan_bands

    def stream(read, height, rows):
        yield 0, plain(read(0, height))

    tiles, numbers = plan_bands(SAME.geometry, (40, 56), 15), [1, 3, 4, 8]
    network = network_of(plain, stream=stream)
    found = by_strips(network, PICTURES, Plan(tiles, 1, 0, 0, 0, 0.0), numbers, 16)
    tops = []
    for number, logits in found:
        tops.append(number)
        page, band = divmod(number, 3)
        np.testing.assert_allclose(logits, plain(VALUES[page])[tiles[band].target], atol=1e-6)
    assert tops == numbers


def test_a_tile_is_reported_after_it_is_written_and_a_fault_of_the_disk_is_raised(tmp_path):
    reported = []
    store = TileStore(tmp_path, TILES, 1, (), np.dtype(np.uint8))

    def tiles():
        for number in (2, 0):
            size = [s.stop - s.start for s in TILES[number].target]
            yield number, plain(np.full((*size, 1), number - 1.0))

    def written(number, pixels):
        assert store.load(number).max() == (number == 2)
        reported.append((number, pixels))

    write_results(tiles(), store, Output(), written)
    assert reported == [(n, store.pixels([n])) for n in (2, 0)]

    for count in (1, 2):  # of the last tile, or of one before

        def broken(count=count):
            for _ in range(count):
                yield 0, np.zeros((3, 3, 2))

        def refused(number, pixels):
            raise OSError("disk")

        with pytest.raises(OSError, match="disk"):
            write_results(broken(), store, Output(), refused)
