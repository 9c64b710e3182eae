"""The scores of the Cell Tracking Challenge: SEG, DET and TRA.

A true object is matched by the predicted one that covers more than half of it. SEG is the mean over all true objects of
the IoU with that object, 0 without a match. DET and TRA are 1 − C / C₀. C is the cost of changing the predicted graph
of objects and links into the true one, and C₀ that of making the true graph from nothing (Matula et al. 2015, Cell
Tracking Accuracy Measurement Based on Comparison of Acyclic Oriented Graphs). The costs are:

    split an object that matches several true ones (5), add a missed one (10), delete a false one (1);
    for TRA also delete a link (1), add a link (1.5), change its kind, same cell or daughter (1)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError

from ..objects.challenge import TRACKS, mask_files, read_mask, read_tracks, segmentation_pairs
from .matching import overlaps

if TYPE_CHECKING:
    from jaxtyping import Int, Integer

SPLIT, MISSED, FALSE, DELETE_LINK, ADD_LINK, CHANGE_LINK = 5, 10, 1, 1, 1.5, 1
Node = tuple[int, int]
"""Frame and number of an object."""


def seg_score(
    truths: Iterable[Integer[np.ndarray, "*spatial"]], guesses: Iterable[Integer[np.ndarray, "*spatial"]]
) -> float:
    """SEG of some frames; NaN if there is no true object.

    Args:
        truths, guesses: labels of each frame, 0 for background.

    Raises:
        InputError: the shapes differ.

    Example:
        >>> from unet_data import seg_score
        >>> seg_score([np.array([[1, 1, 1, 0, 2, 2]])], [np.array([[5, 5, 0, 0, 0, 0]])])
        0.3333333333333333
    """
    return _seg(zip(truths, guesses, strict=True))


def _seg(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float:
    total, count = 0.0, 0
    for truth, guess in pairs:
        found = overlaps(truth, guess)
        covered = 2 * found.common > found.truth_sizes[found.truth]
        total, count = total + float(found.iou[covered].sum()), count + len(found.truth_sizes)
    return total / count if count else math.nan


def tracking_scores(
    truths: Iterable[Integer[np.ndarray, "*spatial"]],
    guesses: Iterable[Integer[np.ndarray, "*spatial"]],
    true_tracks: Int[np.ndarray, "n 4"],
    tracks: Int[np.ndarray, "m 4"],
) -> dict[str, float]:
    """DET and TRA of a sequence.

    Args:
        truths, guesses: labels of each frame; a cell has one number in all frames.
        true_tracks, tracks: a row for each number: number, first frame, last frame, number of the parent or 0.

    Returns:
        det and tra, NaN if there is no true object; and the number of corrections of each kind: split, missed, false,
        deleted_links, added_links, changed_links.

    Raises:
        InputError: the shapes differ, or a parent does not exist in its last frame.

    Example:
        >>> from unet_data import tracking_scores
        >>> frames = [np.array([[1, 1, 0]]), np.array([[0, 1, 1]])]
        >>> renamed, tracks = [frames[0], frames[1] * 2], np.array([[1, 0, 0, 0], [2, 1, 1, 0]])
        >>> scores = tracking_scores(frames, renamed, np.array([[1, 0, 1, 0]]), tracks)
        >>> scores["det"], scores["added_links"], round(scores["tra"], 4)
        (1.0, 1, 0.9302)
    """
    matches: dict[Node, list[Node]] = {}  # for each predicted object, the true ones that it covers
    true_nodes: list[set[int]] = []
    nodes: list[set[int]] = []
    matched = 0
    for frame, (truth, guess) in enumerate(zip(truths, guesses, strict=True)):
        found = overlaps(truth, guess)
        true_nodes.append(set(found.truth_numbers.tolist()))
        nodes.append(set(found.guess_numbers.tolist()))
        covered = 2 * found.common > found.truth_sizes[found.truth]
        for i, j in zip(found.truth[covered].tolist(), found.guess[covered].tolist(), strict=True):
            matched += 1
            pair = (frame, int(found.guess_numbers[j])), (frame, int(found.truth_numbers[i]))
            matches.setdefault(pair[0], []).append(pair[1])
    total = sum(map(len, true_nodes))
    split, missed, false = matched - len(matches), total - matched, sum(map(len, nodes)) - len(matches)

    true_links, links = _links(true_nodes, true_tracks), _links(nodes, tracks)
    one = {node: own[0] for node, own in matches.items() if len(own) == 1}
    mapped = {(one[a], one[b]): kind for (a, b), kind in links.items() if a in one and b in one}
    deleted = sum(link not in true_links for link in mapped)
    added = sum(link not in mapped for link in true_links)
    changed = sum(true_links.get(link, kind) != kind for link, kind in mapped.items())

    objects = SPLIT * split + MISSED * missed + FALSE * false
    every = objects + DELETE_LINK * deleted + ADD_LINK * added + CHANGE_LINK * changed
    return {
        "det": _score(objects, MISSED * total),
        "tra": _score(every, MISSED * total + ADD_LINK * len(true_links)),
        "split": split,
        "missed": missed,
        "false": false,
        "deleted_links": deleted,
        "added_links": added,
        "changed_links": changed,
    }


def challenge_scores(result: str | Path, truth: str | Path) -> dict[str, float]:
    """The scores of a sequence in the challenge's layout.

    Args:
        result: 01_RES, with mask000.tif … and res_track.txt.
        truth: 01_GT, with SEG, TRA or both.

    Returns:
        seg if SEG is present; det, tra and the corrections of `tracking_scores` if TRA is present.

    Raises:
        InputError: files are missing or damaged.

    Example:
        >>> import tempfile, tifffile
        >>> from unet_data import challenge_scores, write_sequence
        >>> folder = Path(tempfile.mkdtemp())
        >>> frame = np.array([[0, 1, 1, 0]], np.uint16)
        >>> (folder / "01_GT" / "SEG").mkdir(parents=True)
        >>> tifffile.imwrite(folder / "01_GT" / "SEG" / "man_seg000.tif", frame)
        >>> write_sequence(folder / "01_RES", [frame]).tolist(), challenge_scores(folder / "01_RES", folder / "01_GT")
        ([[1, 0, 0, 0]], {'seg': 1.0})
    """
    result, truth = Path(result), Path(truth)
    if not (truth / "SEG").is_dir() and not (truth / "TRA").is_dir():
        raise InputError(f"{truth}: holds neither SEG nor TRA, as the Cell Tracking Challenge names them")
    scores: dict[str, float] = {}
    if (truth / "SEG").is_dir():
        scores["seg"] = _seg(segmentation_pairs(result, truth))
    if (truth / "TRA").is_dir():
        true_files, files = mask_files(truth / "TRA", "man_track"), mask_files(result, "mask")
        if list(true_files) != list(files):
            raise InputError(f"{result}: has {len(files)} masks, {truth / 'TRA'} {len(true_files)}; expected the same")
        tracks = read_tracks(truth / "TRA" / TRACKS["man_track"]), read_tracks(result / TRACKS["mask"])
        scores |= tracking_scores(map(read_mask, true_files.values()), map(read_mask, files.values()), *tracks)
    return scores


def _links(nodes: Sequence[set[int]], tracks: np.ndarray) -> dict[tuple[Node, Node], bool]:
    """The links of a graph, and whether each leads to a daughter."""
    links = {((t, number), (t + 1, number)): False for t in range(len(nodes) - 1) for number in nodes[t] & nodes[t + 1]}
    last = {int(number): int(end) for number, _, end, _ in tracks}
    for number, begin, _, parent in tracks.tolist():
        if not parent:
            continue
        end = last.get(parent, -1)
        there = 0 <= end < len(nodes) and parent in nodes[end] and 0 <= begin < len(nodes) and number in nodes[begin]
        if not there:
            raise InputError(
                f"track {number} has the parent {parent}, but one of them is missing in a frame that the tracks list"
            )
        links[(end, parent), (begin, number)] = True
    return links


def _score(cost: float, whole: float) -> float:
    return 1 - min(cost, whole) / whole if whole else math.nan
