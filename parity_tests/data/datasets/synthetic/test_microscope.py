"""Pictures of cells: what makes each kind of microscopy what it is."""

import numpy as np
import pytest
from scipy import ndimage

from unet_data import cell_sequence
from unet_data.datasets.synthetic.cells import _HABITS
from unet_data.datasets.synthetic.microscope import optics_of, picture_of
from unet_data.datasets.synthetic.outlines import field_of
from unet_data.datasets.synthetic.population import Population


def drawn(style, seed=2, **arguments):
    sequence = cell_sequence(1, 256, seed, style, diameter=40.0, cycle=1000.0, contrast=1.5, **arguments)
    image = sequence.images[0][..., 0].astype(float)
    return image - ndimage.gaussian_filter(image, 60), sequence.labels[0]  # without the uneven light


def test_phase_contrast_has_dark_bodies_and_bright_halos():
    image, labels = drawn("phase-contrast")
    outside = ndimage.distance_transform_edt(labels == 0)
    body, halo, far = image[labels > 0], image[(outside > 0) & (outside <= 3)], image[outside > 15]
    assert body.mean() < far.mean() - 10
    assert halo.mean() > far.mean() + 3


def test_dic_is_lit_from_one_side():
    """Bright where a cell rises along the light, dark where it falls: the means are equal, the sides are not."""
    image, labels = drawn("dic", count=8)
    assert abs(image[labels > 0].mean() - image[labels == 0].mean()) < 3
    inside = (labels > 0).astype(float)
    rise = 0.8 * ndimage.gaussian_filter(inside, 2, order=(1, 0)) + 0.6 * ndimage.gaussian_filter(
        inside, 2, order=(0, 1)
    )
    assert image[rise > 0.05].mean() > image[rise < -0.05].mean() + 10
    across = -0.6 * ndimage.gaussian_filter(inside, 2, order=(1, 0)) + 0.8 * ndimage.gaussian_filter(
        inside, 2, order=(0, 1)
    )
    sides = [image[(across * sign > 0.05) & (np.abs(rise) < 0.03)].mean() for sign in (1, -1)]
    assert abs(sides[0] - sides[1]) < 10


@pytest.mark.parametrize("style", ["phase-contrast", "dic"])
def test_each_cell_has_a_texture_of_its_own(style):
    """Two cells of one shape at one place, drawn without noise, differ in their inside."""
    still = Still()
    population = Population(np.random.default_rng(0), (64, 64), 1, 40.0, 1000.0, 0.0, _HABITS[style])
    population.cells = population._born(np.array([[32.0, 32.0]]))
    population.cells.age[:], population.cells.stretch[:], population.cells.waves[:] = 0.5, 0, 0
    optics = optics_of(np.random.default_rng(1), (64, 64), style, 40.0)
    drawn = []
    for grain in ([0.0, 0.0], [97.0, 0.0], [0.0, 97.0], [0.0, 0.0]):
        population.cells.grain[:] = grain
        drawn.append(picture_of(still, population, field_of(population, (64, 64), optics.coarse), optics, 1.0))
    inside = np.hypot(*(np.indices((64, 64)) - 32)) < 15
    np.testing.assert_array_equal(drawn[0], drawn[3])
    for other in drawn[1:3]:
        fine, others = (d - ndimage.gaussian_filter(d, 3) for d in (drawn[0], other))
        assert np.corrcoef(fine[inside], others[inside])[0, 1] < 0.9


class Still(np.random.Generator):
    """A camera without noise."""

    def __init__(self):
        super().__init__(np.random.PCG64(0))

    def standard_normal(self, size=None, dtype=np.float64, out=None):
        return np.zeros(size, dtype)


@pytest.mark.parametrize("style", ["phase-contrast", "dic"])
def test_texture_moves_with_its_cell(style):
    """A cell's inside resembles itself in the next frame, where it has moved to, more than another cell's."""
    still = cell_sequence(2, 256, 3, style, diameter=60.0, count=6, cycle=1000.0, speed=0.0)
    first, second = (ndimage.gaussian_filter(i[..., 0].astype(float), 1) for i in still.images)
    whole = [n for n in np.unique(still.labels[0])[1:] if (still.labels[0] == n).sum() > 1500]
    inside = still.labels[0] == whole[0]
    assert np.corrcoef(first[inside], second[inside])[0, 1] > 0.5
    moved = np.roll(second, 17, axis=0)
    assert np.corrcoef(first[inside], moved[inside])[0, 1] < 0.4


def test_no_cell_is_found_by_its_grey_alone():
    """A threshold does not solve it."""
    for style in ("phase-contrast", "dic"):
        sequence = cell_sequence(1, 256, 0, style)
        image = ndimage.gaussian_filter(sequence.images[0][..., 0].astype(float), 2)
        inside = sequence.labels[0] > 0
        iou = [(g & inside).sum() / (g | inside).sum() for t in range(60, 180, 3) for g in (image < t, image > t)]
        assert max(iou) < max(0.75, inside.mean() + 0.02), style
