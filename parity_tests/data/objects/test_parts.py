"""The objects of blocks of any shape are those of the whole image; and those of a plain sequential reference."""

import itertools

import numpy as np
import pytest

from unet_data import ObjectSettings
from unet_data.objects import parts
from unet_data.objects.basins import Basins
from unet_data.objects.heights import OUT, heights
from unet_data.objects.parts import Blocks, join, parts_of
from unet_data.objects.whole import label_in_blocks

from .maps import VARIANTS, blobs, variant

SIDES = {2: [(9, 14), (13, 200), (200, 17), (41, 41), (1, 59), (50, 3)], 3: [(5, 7, 9), (23, 4, 31), (40, 40, 2)]}
SHAPE = {2: (47, 61), 3: (13, 17, 19)}


@pytest.mark.parametrize("dims", [2, 3])
@pytest.mark.parametrize("name", VARIANTS)
def test_blocks_of_any_shape_give_the_objects_of_the_whole_image(name, dims):
    settings, classes = variant(name, dims)
    values = blobs(SHAPE[dims], seed=len(name), classes=classes, sigma=2.0 if dims == 2 else 1.3)
    labels, objects = label_in_blocks(values, settings, dims, SHAPE[dims])
    assert len(objects.sizes) > (0 if name == "never" else 2)
    for side in SIDES[dims]:
        own, same = label_in_blocks(values, settings, dims, side)
        np.testing.assert_array_equal(own, labels, err_msg=str(side))
        np.testing.assert_array_equal(same.classes, objects.classes)
        np.testing.assert_array_equal(same.sizes, objects.sizes)


def reference(height, ratio):
    """The definition in README.md, step by step: climb, sort all pairs of pixels, merge."""
    shape, dims = height.shape, height.ndim
    pixels = [p for p in np.ndindex(shape) if height[p] != OUT]
    index = {p: i for i, p in enumerate(np.ndindex(shape))}

    def neighbours(p):
        for axis, way in itertools.product(range(dims), (-1, 1)):
            q = (*p[:axis], p[axis] + way, *p[axis + 1 :])
            if 0 <= q[axis] < shape[axis] and height[q] != OUT:
                yield axis, way, q

    def climb(p):
        while True:
            top = max([p, *(q for _, _, q in neighbours(p))], key=lambda q: (height[q], -index[q]))
            if top == p:
                return p
            p = top

    part = {p: climb(p) for p in pixels}
    peak = {root: height[root] for root in part.values()}
    pairs = [
        (-min(height[p], height[q]), index[p] * dims + axis, p, q)
        for p in pixels
        for axis, way, q in neighbours(p)
        if way == 1
    ]
    for minus, _, p, q in sorted(pairs):
        a, b = part[p], part[q]
        if a != b and -minus > 0 and -minus >= ratio * min(peak[a], peak[b]):
            peak[a] = max(peak[a], peak[b])
            for r in pixels:
                if part[r] == b:
                    part[r] = a
    numbers, result = {}, np.zeros(shape, int)
    for p in pixels:
        result[p] = numbers.setdefault(part[p], len(numbers) + 1)
    return result


@pytest.mark.parametrize(("name", "dims"), [*((n, 2) for n in VARIANTS if n != "sizes"), ("distance", 3)])
def test_a_sequential_reference(name, dims):
    settings, classes = variant(name, dims)
    shape = (23, 29) if dims == 2 else (7, 8, 9)
    values = blobs(shape, seed=7, classes=classes, sigma=1.5 if dims == 2 else 1.0)
    labels, _ = label_in_blocks(values, settings, dims, tuple(n // 2 for n in shape))
    np.testing.assert_array_equal(labels, reference(heights(values, dims, settings), parts.ratio_of(settings)))


def test_many_plateaus_against_the_sequential_reference():
    """Few distinct heights: ties of heights, of saddles and of peaks decide nearly everything."""
    rng = np.random.default_rng(0)
    for seed in range(12):
        values = (rng.integers(0, 4, (11, 13)) * 80).astype(np.uint8)
        settings = ObjectSettings("probability", core=0.2, foreground=0.2, neck=[0.3, 0.6, 0.8, 1.0][seed % 4])
        labels, _ = label_in_blocks(values, settings, 2, (4, 5))
        np.testing.assert_array_equal(labels, reference(heights(values, 2, settings), settings.neck))


BUGS = {
    "half the halo": ("halo", lambda self, dims: tuple(max(h // 2, 1) for h in HALO(self, dims))),
    "no joining across faces": ("leaves", None),
    "parts at a face merged early": ("frozen", None),
}
HALO = ObjectSettings.halo


@pytest.mark.parametrize("bug", BUGS)
def test_planted_bugs_are_caught(bug, monkeypatch):
    """The comparison of blocks sees each of the mistakes that would make it worthless."""
    what, instead = BUGS[bug]
    if what == "halo":
        monkeypatch.setattr(ObjectSettings, "halo", instead)
    elif what == "frozen":
        monkeypatch.setattr(parts, "merged", lambda p, e, r, frozen=None, merged=parts.merged: merged(p, e, r))
    else:
        real = parts.basins_of

        def without(*args):
            b = real(*args)
            for face in itertools.chain.from_iterable(b.faces):
                if face is not None:
                    face.leaves[:] = False
            return Basins(b.numbers, b.peaks, b.edges, b.faces)

        monkeypatch.setattr(parts, "basins_of", without)
    differs = 0
    for name in ("distance", "smooth", "holes", "grown", "classes", "always"):
        settings, classes = variant(name)
        values = blobs(SHAPE[2], seed=len(name), classes=classes)
        whole, _ = label_in_blocks(values, settings, 2, SHAPE[2])
        differs += any((label_in_blocks(values, settings, 2, side)[0] != whole).any() for side in SIDES[2][:2])
    assert differs, bug


def test_an_image_without_objects():
    values = np.zeros((9, 9), np.uint8)
    blocks = Blocks((9, 9), (4, 4))
    found = [
        parts_of(lambda low, high: values[low[0] : high[0], low[1] : high[1]], (9, 9), blocks.span(i), ObjectSettings())
        for i in range(len(blocks))
    ]
    assert join(blocks, [own for _, own in found], ObjectSettings()).sizes.size == 0
