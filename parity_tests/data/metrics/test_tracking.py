"""SEG, DET and TRA: by hand, and against py-ctcmetrics on random sequences."""

import math
import sys

import numpy as np
import pytest
import tifffile

from unet_data import seg_score, tracking_scores
from unet_spec import InputError


def sequence(rng, frames=4):
    """Labels of each frame and the tracks that fit them: cells that move, vanish, divide."""
    labels = np.zeros((frames, 15, 16), int)
    rows = {}
    alive = {}
    for t in range(frames):
        for number in list(alive):
            if rng.random() < 0.15:
                del alive[number]
        if alive and rng.random() < 0.4:
            parent = int(rng.choice(list(alive)))
            y, x, h, w = alive.pop(parent)
            for dx in (0, w // 2 + 1):
                number = len(rows) + 1
                rows[number] = [number, t, t, parent]
                alive[number] = (y, x + dx, h, max(w // 2, 1))
        while rng.random() < 0.5 or (t == 0 and not alive):
            number = len(rows) + 1
            rows[number] = [number, t, t, 0]
            alive[number] = (*rng.integers(0, 11, 2).tolist(), *rng.integers(2, 6, 2).tolist())
        for number, (y, x, h, w) in alive.items():
            labels[t, y : y + h, x : x + w] = number
            alive[number] = (max(y + int(rng.integers(-1, 2)), 0), x, h, w)
    return labels, valid(labels, rows)


def valid(labels, rows):
    """Tracks of what is visible: first and last frame as they are; a parent only where it ends before."""
    kept = {}
    for number, (_, _, _, parent) in rows.items():
        seen = [t for t in range(len(labels)) if (labels[t] == number).any()]
        if seen:
            kept[number] = [number, seen[0], seen[-1], parent]
    for row in kept.values():
        if row[3] and (row[3] not in kept or kept[row[3]][2] >= row[1]):
            row[3] = 0
    return np.array(list(kept.values()), int).reshape(-1, 4)


def case(seed):
    rng = np.random.default_rng(seed)
    truth, true_tracks = sequence(rng)
    if seed % 4 == 0:
        return truth, true_tracks, *sequence(rng)
    guess, tracks = truth.copy(), true_tracks.copy()
    if seed % 4 == 1:
        guess = np.roll(guess, 1, axis=2)
    elif seed % 4 == 2:  # two cells in one, and one that is cut
        numbers = rng.permutation(tracks[:, 0])[:2]
        guess[guess == numbers[-1]] = numbers[0]
        guess[1][(guess[1] == numbers[0]) & (np.indices(guess[1].shape)[0] % 2 == 0)] = 0
    else:  # other links
        guess[2:] = np.where(guess[2:] > 0, guess[2:].max() + 1 - guess[2:], 0)
    return truth, true_tracks, guess, valid(guess, {n: [n, 0, 0, p] for n, _, _, p in tracks.tolist()} | {
        int(n): [int(n), 0, 0, 0] for n in np.unique(guess) if n and n not in tracks[:, 0]
    })  # fmt: skip


def ctc(truth, true_tracks, guess, tracks, folder):
    pytest.importorskip("ctc_metrics")
    from ctc_metrics.metrics import det, seg, tra
    from ctc_metrics.utils.representations import count_acyclic_graph_correction_operations, match

    found = []
    for t in range(len(truth)):
        for name, labels in (("r", truth), ("c", guess)):
            tifffile.imwrite(folder / f"{name}.tif", labels[t].astype(np.int32))
        found.append(match(str(folder / "r.tif"), str(folder / "c.tif")))
    refs, comps, mapped_ref, mapped_comp, ious = map(list, zip(*found, strict=True))
    counts = count_acyclic_graph_correction_operations(true_tracks, tracks, refs, comps, mapped_ref, mapped_comp)
    return {"det": det(**counts), "tra": tra(**counts)[0], "seg": seg(refs, ious), **counts}


@pytest.mark.parametrize("seeds", [range(20), pytest.param(range(20, 220), marks=pytest.mark.slow)])
def test_against_py_ctcmetrics(seeds, tmp_path):
    seen = dict.fromkeys(("NS", "FN", "FP", "ED", "EA", "EC"), 0)
    for seed in seeds:
        truth, true_tracks, guess, tracks = case(seed)
        if not all(frame.any() for frame in [*truth, *guess]):
            continue  # it needs an object in every frame
        theirs = ctc(truth, true_tracks, guess, tracks, tmp_path)
        ours = tracking_scores(truth, guess, true_tracks, tracks)
        assert ours["det"] == pytest.approx(theirs["det"], abs=1e-12), seed
        assert ours["tra"] == pytest.approx(theirs["tra"], abs=1e-12), seed
        assert seg_score(truth, guess) == pytest.approx(theirs["seg"], abs=1e-12), seed
        names = ("split", "missed", "false", "deleted_links", "added_links", "changed_links")
        for name, key in zip(names, seen, strict=True):
            assert ours[name] == theirs[key], (seed, name)
            seen[key] += theirs[key]
    assert all(seen.values()), seen  # every kind of error occurs
    assert "sklearn" in sys.modules


def test_by_hand():
    a, b = np.array([[1, 1, 1, 0, 2, 2]]), np.array([[1, 1, 1, 0, 0, 0]])
    tracks = np.array([[1, 0, 1, 0], [2, 0, 0, 0]])
    perfect = tracking_scores([a, b], [a, b], tracks, tracks)
    assert (perfect["det"], perfect["tra"]) == (1, 1)
    merged = tracking_scores([a, b], [a > 0, b], tracks, np.array([[1, 0, 1, 0]]))
    assert merged["split"] == 1
    assert merged["det"] == 1 - 5 / 30
    assert merged["added_links"] == 1  # an object that matches two has no links
    assert merged["tra"] == pytest.approx(1 - 6.5 / 31.5)
    daughter = np.array([[1, 0, 0, 0], [2, 0, 0, 0], [3, 1, 1, 1]])
    changed = tracking_scores([a, b], [a, b * 3], tracks, daughter)
    assert changed["changed_links"] == 1
    assert changed["tra"] == pytest.approx(1 - 1 / 31.5)
    nothing = tracking_scores([a], [a * 0], tracks[:0], tracks[:0])
    assert (nothing["det"], nothing["missed"]) == (0, 2)


def test_half_of_an_object_is_not_enough():
    assert seg_score([np.array([[1, 1]])], [np.array([[1, 0]])]) == 0
    assert seg_score([np.array([[1, 1, 1]])], [np.array([[0, 4, 4]])]) == pytest.approx(2 / 3)
    assert math.isnan(seg_score([np.zeros((1, 2), int)], [np.ones((1, 2), int)]))


def test_a_parent_that_is_not_there_is_refused():
    frame = np.array([[1, 2]])
    with pytest.raises(InputError, match="parent 1"):
        tracking_scores([frame], [frame], np.array([[1, 0, 5, 0], [2, 0, 0, 1]]), np.array([[1, 0, 0, 0]]))
