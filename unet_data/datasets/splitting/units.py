"""Chooses whole units for validation: images, or groups of images that stay together."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from unet_spec.errors import InputError

from ..dataset import Dataset

if TYPE_CHECKING:
    from jaxtyping import Int64

SHARE = 1 / 6
"""Default share of the validation images: slices 20-23 of the 24 ISBI slices."""

_LAST_NUMBER = re.compile(r"^(.*\d.*?)[\s_.-]+\D*\d+\D*$")


def group_names(dataset: Dataset, pattern: str | None) -> list[str]:
    """The group of each image: the match of the pattern. By default it is the text before the last number of the name
    if there is an earlier number, otherwise the name."""
    if pattern is None:
        found = [_LAST_NUMBER.match(name) for name in dataset.names]
        return [match[1] if match else name for match, name in zip(found, dataset.names, strict=True)]
    try:
        expression = re.compile(pattern)
    except re.error as e:
        raise InputError(f"--group {pattern!r} is not a regular expression ({e})") from None
    groups = []
    for name in dataset.names:
        if (match := expression.search(name)) is None:
            raise InputError(f"{dataset.source}: --group {pattern!r} does not match the name {name!r}")
        groups.append(" ".join(part or "" for part in match.groups()) if expression.groups else match[0])
    return groups


def units_of(groups: Sequence[str]) -> list[list[int]]:
    """The images of each group, in the order in which the groups begin."""
    found: dict[str, list[int]] = {}
    for index, name in enumerate(groups):
        found.setdefault(name, []).append(index)
    return list(found.values())


def last_units(units: Sequence[Sequence[int]], share: float) -> set[int]:
    """The images of the last units, about this share of all images; at least one unit, but not all."""
    count = sum(map(len, units))
    aim, chosen = max(1, round(count * share)), []
    for number, unit in enumerate(reversed(units)):
        closer = abs(len(chosen) + len(unit) - aim) <= aim - len(chosen)
        if number and (number == len(units) - 1 or len(chosen) >= aim or not closer):
            break
        chosen += unit
    return set(chosen)


def fold_units(units: Sequence[Sequence[int]], part: int, parts: int, source: str) -> set[int]:
    if not 1 <= part <= parts or not 2 <= parts <= len(units):
        raise InputError(
            f"{source}: --validate {part}/{parts} is not a fold; give i/n with i from 1 to n, and n from 2 to "
            f"{len(units)}, the number of images or groups"
        )
    own = units[len(units) * (part - 1) // parts : len(units) * part // parts]
    return {index for unit in own for index in unit}


def automatic_units(dataset: Dataset, units: Sequence[Sequence[int]]) -> tuple[set[int], str]:
    """The last sixth; if a class would then be missing in one of the two parts, units chosen by class."""
    chosen = last_units(units, SHARE)
    block = "the last sixth" if all(len(u) == 1 for u in units) else "the last groups"
    if dataset.labels is None:
        return chosen, block
    counts = dataset.label_counts()
    present = counts.sum(0) > 0
    if _complete(counts, chosen, present):
        return chosen, block
    stratified = _stratified(np.stack([counts[list(unit)].sum(0) for unit in units]), units, len(dataset))
    if _complete(counts, stratified, present):
        return stratified, "chosen so that training and validation both have every class (the last sixth lacks one)"
    rare = [dataset.class_names[c] for c in np.flatnonzero(present) if not _complete(counts, stratified, [int(c)])]
    return (
        stratified,
        f"spread by class; too few images or groups have {', '.join(rare)} for both training and validation",
    )


def _complete(counts: np.ndarray, chosen: set[int], classes: Sequence[int] | np.ndarray) -> bool:
    """Whether these classes occur among the chosen images, and among the others."""
    inside = np.zeros(len(counts), bool)
    inside[list(chosen)] = True
    return all(bool((counts[part].sum(0)[classes] > 0).all()) for part in (inside, ~inside))


def _stratified(counts: Int64[np.ndarray, "units k"], units: Sequence[Sequence[int]], images: int) -> set[int]:
    """About a sixth of the images, in whole units, with class shares near those of all images.

    The rarest classes are assigned first, as in the iterative stratification of Sechidis, Tsoumakas and Vlahavas 2011.
    """
    has, aim = counts > 0, max(1, round(images * SHARE))
    whole = counts.sum(0) / max(1, counts.sum())
    chosen: list[int] = []

    def add(candidates: Sequence[int]) -> bool:
        """Adds the candidate that brings the class shares nearest; the last one among equals.

        A candidate that would leave a class without training images is not used.
        """
        remaining = np.setdiff1d(np.arange(len(units)), chosen)
        free = [
            u
            for u in candidates
            if u not in chosen and (has[remaining[remaining != u]].any(0) | ~has[remaining].any(0)).all()
        ]
        if not free or len(remaining) < 2:
            return False
        sums = counts[chosen].sum(0) + counts[free]
        distance = np.abs(sums / np.maximum(sums.sum(1, keepdims=True), 1) - whole).sum(1)
        sizes = np.array([len(units[u]) for u in free]) + sum(len(units[u]) for u in chosen)
        distance += np.maximum(sizes / aim - 1, 0)
        chosen.append(free[len(free) - 1 - int(np.argmin(distance[::-1]))])
        return True

    for index in np.argsort(has.sum(0), kind="stable"):
        if has[:, index].any() and not has[chosen, index].any():
            add(np.flatnonzero(has[:, index]).tolist())
    while sum(len(units[u]) for u in chosen) < aim and add(range(len(units))):
        pass
    return {index for u in chosen for index in units[u]} or last_units(units, SHARE)
