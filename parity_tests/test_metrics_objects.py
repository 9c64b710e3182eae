"""V_Rand, V_Info, adapted Rand, thinning, warping error: by hand, against scikit-image, against plain counting."""

import math

import numpy as np
import pytest
from skimage.metrics import adapted_rand_error as skimage_adapted_rand
from skimage.metrics import variation_of_information

from unet_data import membrane_instances, membranes
from unet_data.clustering import adapted_rand_error, overlap, v_info, v_rand
from unet_data.evaluate import object_scores
from unet_data.thinning import regions, thin_borders
from unet_data.warping import _RING, _simple_table, warp, warping_error
from unet_spec.errors import InputError


def random_labels(seed, low=0):
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 6, (20, 21))
    proposal = np.where(rng.random(truth.shape) < 0.7, truth + 1, rng.integers(low, 7, truth.shape))
    return np.maximum(proposal, low), truth


@pytest.mark.parametrize("seed", range(4))
def test_against_scikit_image(seed):
    """Where the proposal gives every pixel to an object, both count the same pairs, but for those of a pixel with
    itself: scikit-image has n (n − 1) of n pixels, the article n²."""
    proposal, truth = random_labels(seed, low=1)
    table = overlap(proposal, truth)
    counts = np.array([(truth[truth > 0] == j).sum() for j in np.unique(truth[truth > 0])])
    np.testing.assert_allclose(sorted(table.truth * table.pixels), sorted(counts))
    error, precision, recall = skimage_adapted_rand(truth, proposal, ignore_labels=(0,))
    n = table.pixels
    both, ours, theirs = (float((x**2).sum()) * n**2 for x in (table.joint, table.proposal, table.truth))
    # What scikit-image returns as precision is divided by the truth's pairs, whatever its documentation says.
    assert (both - n) / (theirs - n) == pytest.approx(precision, rel=1e-12)
    assert (both - n) / (ours - n) == pytest.approx(recall, rel=1e-12)
    assert 1 - 2 * (both - n) / (ours + theirs - 2 * n) == pytest.approx(error, rel=1e-12)
    assert adapted_rand_error(table) == pytest.approx(1 - 2 * both / (ours + theirs), rel=1e-12)
    assert v_rand(table, 1.0) == pytest.approx(both / ours, rel=1e-12)
    assert v_rand(table, 0.0) == pytest.approx(both / theirs, rel=1e-12)
    split, merge = variation_of_information(truth[truth > 0], proposal[truth > 0])  # in bits
    joint = -(table.joint * np.log2(table.joint)).sum()
    h_s, h_t = (-(x * np.log2(x)).sum() for x in (table.proposal, table.truth))
    assert {round(joint - h_s, 9), round(joint - h_t, 9)} == {round(split, 9), round(merge, 9)}
    assert v_info(table) == pytest.approx(2 * (h_s + h_t - joint) / (h_s + h_t), rel=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_against_counting_all_pairs_of_pixels(seed):
    """Unassigned pixels included: each stands alone."""
    proposal, truth = (a[:7, :7] for a in random_labels(seed))
    s, t = proposal[truth > 0].astype(object), truth[truth > 0]
    s = np.array([x if x else f"lone {i}" for i, x in enumerate(s)], dtype=object)
    n = len(t)
    joined = [(s[i] == s[j], t[i] == t[j]) for i in range(n) for j in range(n)]  # ordered, with themselves
    both, ours, theirs = (
        sum(x) for x in ((a and b for a, b in joined), (a for a, _ in joined), (b for _, b in joined))
    )
    table = overlap(proposal, truth)
    assert v_rand(table, 1.0) == pytest.approx(both / ours)
    assert v_rand(table, 0.0) == pytest.approx(both / theirs)
    assert v_rand(table) == pytest.approx(2 * both / (ours + theirs))
    named = np.unique(np.array([str(x) for x in s]), return_inverse=True)[1] + 1
    assert v_info(table) == pytest.approx(v_info(overlap(named, t)), rel=1e-12)


def test_by_hand():
    """One object of 4 pixels split into 2 + 2: Σp² = 2/4, Σs² = 2/4, Σt² = 1."""
    truth = np.array([[1, 1, 1, 1, 0]])
    split = overlap(np.array([[1, 1, 2, 2, 2]]), truth)
    assert v_rand(split) == pytest.approx(0.5 / 0.75)
    assert v_info(split) == 0  # one object: nothing that the proposal could tell about it
    two = np.array([[1, 1, 2, 2, 0]])
    merged = overlap(np.array([[5, 5, 5, 5, 1]]), two)
    assert v_rand(merged) == pytest.approx(0.5 / 0.75)
    assert v_info(merged) == 0
    same = overlap(np.array([[7, 7, 3, 3, 3]]), two)
    assert (v_rand(same), v_info(same), adapted_rand_error(same)) == pytest.approx((1, 1, 0))
    nothing = overlap(np.zeros((1, 5), int), two)  # all alone: Σp² = 4/16, Σs² = 4/16, Σt² = 1/2
    assert v_rand(nothing) == pytest.approx(0.25 / 0.375)
    assert v_info(nothing) == pytest.approx(2 * math.log(2) / (math.log(4) + math.log(2)))
    assert math.isnan(v_rand(overlap(two, np.zeros_like(two))))
    one = overlap(np.ones((2, 2), int), np.ones((2, 2), int))
    assert (v_rand(one), v_info(one)) == (1, 1)


def test_pixels_outside_of_the_truths_objects_do_not_count():
    proposal, truth = random_labels(0)
    changed = np.where(truth == 0, 99, proposal)
    assert v_rand(overlap(changed, truth)) == v_rand(overlap(proposal, truth))


@pytest.mark.parametrize(
    ("proposal", "words"),
    [(np.zeros((2, 2), int), "shape"), (np.zeros((1, 5)), "integers"), (-np.ones((1, 5), int), "0 or more")],
)
def test_refusals(proposal, words):
    with pytest.raises(InputError, match=words):
        overlap(proposal, np.ones((1, 5), int))


def test_thinning_gives_each_pixel_to_the_nearest_object():
    objects = np.zeros((5, 9), int)
    objects[1, 0], objects[3, 8] = 4, 2
    thin = thin_borders(objects)
    for y, x in np.ndindex(objects.shape):
        near, far = math.hypot(y - 1, x), math.hypot(y - 3, x - 8)
        if near != far:
            assert thin[y, x] == (4 if near < far else 2)
    assert not thin_borders(np.zeros((3, 3), int)).any()


def test_the_width_of_a_border_does_not_matter_after_thinning():
    truth = np.zeros((20, 40), int)
    truth[:, :19], truth[:, 21:] = 1, 2
    for half in (1, 4, 8):
        inside = np.ones((20, 40), bool)
        inside[:, 20 - half : 20 + half] = False
        assert v_rand(overlap(thin_borders(regions(inside)), truth)) == 1
    broken = np.ones((20, 40), bool)
    broken[1:, 18:22] = False  # a gap of one pixel joins both
    assert v_rand(overlap(thin_borders(regions(broken)), truth)) == pytest.approx(0.5 / 0.75, abs=1e-3)


def test_regions_touching_at_a_corner_are_two():
    assert regions(np.eye(3, dtype=bool)).max() == 3


def test_object_scores_take_the_best_threshold():
    truth = membrane_instances(1, 96, 1)[0]
    chance = np.where(truth > 0, 0.65, 0.45).astype(np.float32)  # right above 0.45 and below 0.65 only
    scores = object_scores([chance], [truth])
    assert scores["v_rand"] == pytest.approx(1, abs=1e-12)
    assert scores["v_info"] == pytest.approx(1, abs=1e-12)
    assert scores["v_rand_threshold"] in (0.5, 0.6)
    assert object_scores([chance], [truth], (0.1,))["v_rand"] < 0.5
    assert math.isnan(object_scores([chance], [np.zeros_like(truth)])["v_rand"])
    sure = np.where(truth > 0, 0.999, 0.92).astype(np.float32)  # a network that all but misses its borders
    assert object_scores([sure], [truth])["v_rand_threshold"] == 0.95


def components(mask, connected8):
    """Number of connected regions of True, by search."""
    steps = [(-1, 0), (1, 0), (0, -1), (0, 1)] + ([(-1, -1), (-1, 1), (1, -1), (1, 1)] if connected8 else [])
    left, count = {tuple(p) for p in np.argwhere(mask)}, 0
    while left:
        count, todo = count + 1, [left.pop()]
        while todo:
            y, x = todo.pop()
            for dy, dx in steps:
                if (y + dy, x + dx) in left:
                    left.remove((y + dy, x + dx))
                    todo.append((y + dy, x + dx))
    return count


def test_simple_points_are_those_that_keep_the_number_of_regions():
    """All 256 surroundings: flipping the centre keeps the regions of the 3x3 square inside a False frame joined at the
    ring's False pixels, True 4-connected and False 8-connected, looked at from the centre's own neighbours."""
    table = _simple_table()
    for bits in range(256):
        ring = np.zeros((3, 3), bool)
        for k, (dy, dx) in enumerate(_RING):
            ring[1 + dy, 1 + dx] = bits >> k & 1
        # True pieces of the ring that touch the centre by an edge, and False pieces that touch it at all
        true_pieces = sum(
            piece[[0, 1, 1, 2], [1, 0, 2, 1]].any() for piece in pieces(ring & ~centre(), connected8=False)
        )
        false_pieces = len(pieces(~ring & ~centre(), connected8=True))
        assert table[bits] == (true_pieces == 1 and false_pieces == 1), f"{bits:08b}"


def centre():
    mask = np.zeros((3, 3), bool)
    mask[1, 1] = True
    return mask


def pieces(mask, connected8):
    from scipy import ndimage

    labels, count = ndimage.label(mask, np.ones((3, 3)) if connected8 else None)
    return [labels == k for k in range(1, count + 1)]


def test_a_shifted_border_costs_nothing_and_a_hole_in_it_its_gap():
    truth = np.ones((20, 30), bool)
    truth[:, 13:16] = False
    shifted = np.ones((20, 30), bool)
    shifted[:, 15:18] = False
    assert (truth != shifted).sum() == 80
    assert warping_error(truth, shifted) == 0
    broken = truth.copy()
    broken[10, 13:16] = True
    assert warping_error(truth, broken) == 1 / truth.size  # two of the three may be eaten away, one holds the border
    assert warping_error(truth, truth) == 0
    assert warping_error(np.zeros((4, 4), bool), np.eye(4, dtype=bool)) == 4 / 16


@pytest.mark.parametrize("seed", range(2))
def test_warping_keeps_every_region(seed):
    data = membranes(2, 64, seed)
    truth, proposal = (label > 0 for label in data.labels)
    moved = warp(truth, proposal)
    framed = [np.pad(~m, 1, constant_values=True) for m in (truth, moved)]
    assert regions(moved).max() == regions(truth).max()
    assert components(framed[0], True) == components(framed[1], True)
    assert (moved != proposal).mean() < (truth != proposal).mean()


def test_a_warping_may_not_go_far():
    truth, far = np.ones((20, 40), bool), np.ones((20, 40), bool)
    truth[:, 5], far[:, 35] = False, False
    assert warping_error(truth, far, reach=3) > 0
