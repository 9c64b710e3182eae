"""Reads a pair of an image and its label: whole, or as arrays that stay in their files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from unet_spec.errors import InputError

from ...folders.pairing import OVERLAPPING, Pair
from ...io.carried import page_order, volumes
from ...io.decode import decode
from ...io.facts import PLAIN, FileFacts, ReadSettings, Role
from ...io.formats.encode_nifti import elsewhere
from ...io.images import as_image
from ...io.readers import is_zarr
from ...io.stores.remote import shown, url_of
from ...labels.joined import join_objects
from ...labels.mask_files import MaskReader
from ...labels.numbers import one_number
from ..dataset import size_text
from ..stored import as_array, stored_pictures

Arrays = list[np.ndarray]


@dataclass(frozen=True)
class Contents:
    """Images (*spatial, C) of a file, label numbers (*spatial) of its label file, and the facts of both."""

    images: Arrays
    labels: Arrays
    facts: FileFacts
    label_facts: FileFacts = PLAIN


_CHANNELS = "; if its pages are channels, pass --axes CYX"
_PAGES = f"; if each page is the mask of a class, pass {OVERLAPPING}"

Read = Callable[[Pair, int, ReadSettings], Contents]
"""Reads a pair of files: (pair, spatial_dims, settings) to their contents."""


def read_whole(pair: Pair, spatial_dims: int, settings: ReadSettings) -> Contents:
    """The contents in memory. Raises InputError if a file cannot be read, or image and label differ in size."""
    if spatial_dims == 3 and _is_array(pair.image) and len(pair.labels) == 1:
        found = read_by_windows(pair, spatial_dims, settings)
        if len(found.images) > 1:  # several volumes
            images, labels = (list(map(np.asarray, each)) for each in (found.images, found.labels))
            return replace(found, images=images, labels=labels)
    stack, facts = _whole(pair.image, spatial_dims, "image", settings)
    pages = volumes(facts, len(stack), pair.image) if spatial_dims == 3 else ()

    def parts(array: np.ndarray) -> Arrays:
        """The pictures of a stack. A label is divided into volumes like its image, whose axes may state more."""
        if spatial_dims == 2:
            return list(array)
        return [array] if len(pages) == 1 else [array[each] for each in pages]

    if not pair.labels:
        return Contents(parts(stack), [], facts)
    labels, label_facts = _label(pair, spatial_dims, settings)
    if labels.shape != stack.shape[:-1]:
        first = 1 if len(labels) == len(stack) == 1 else 0  # a single picture needs no page count
        sizes = size_text(stack.shape[first:-1]), size_text(labels.shape[first:])
        turned = " (it was turned by its orientation tag: try --orientation ignore)" * facts.turned
        pages = _PAGES * (first == 0 and len(stack) == 1 and labels.shape[1:] == stack.shape[1:-1])
        pages += _CHANNELS * (spatial_dims == 2 and len(labels) == 1 < len(stack) and not settings.axes)
        raise InputError(
            f"{pair.image}: is {sizes[0]}{turned} but its label {pair.labels[0]} is {sizes[1]}; they must be equal"
            + pages
        )
    if (order := _page_order(pair, facts, label_facts)) is not None:
        labels, label_facts = labels[order], _reordered(label_facts, facts)
    return Contents(parts(stack), parts(labels), facts, _placed(label_facts, facts))


def read_masked(read: Read, pair: Pair, masks: MaskReader) -> Contents:
    """The images of a pair, as `read` returns them, and the masks of overlapping classes as labels."""
    dims, settings = masks.spatial_dims, masks.settings
    if read is read_whole:
        stack, facts = _whole(pair.image, dims, "image", settings)
        images, spatial = [stack] if dims == 3 else list(stack), stack.shape[:-1]
    else:
        stored = stored_pictures(pair.image, dims, "image", settings)
        images, facts = [as_array(each) for each in stored], stored[0].facts
        depth, *plane = (1, *stored[0].spatial) if dims == 2 else stored[0].spatial
        spatial = (len(stored) * depth, *plane)
    pages = volumes(facts, spatial[0], pair.image) if dims == 3 else ()
    if len(pages) > 1:
        images = images if len(images) > 1 else [images[0][each] for each in pages]
    if not pair.labels:
        return Contents(images, [], facts)
    packed, label_facts = masks.read(pair.labels, pair.classes, spatial)
    labels = list(packed) if dims == 2 else [packed] if len(pages) == 1 else [packed[each] for each in pages]
    return Contents(images, labels, facts, _placed(label_facts, facts))


def _is_array(path: Path) -> bool:
    return path.suffix.lower() == ".npy" or is_zarr(path) or url_of(path) is not None


def _whole(path: Path, spatial_dims: int, role: Role, settings: ReadSettings) -> tuple[np.ndarray, FileFacts]:
    """The whole content of a file: (N, H, W, C), or a volume (D, H, W, C); labels without C."""
    if _is_array(path):
        found = stored_pictures(path, spatial_dims, role, settings)
        if spatial_dims == 3 and len(found) > 1:
            raise InputError(f"{shown(path)}: contains {len(found)} volumes; write each to its own file")
        arrays = [np.asarray(each) for each in found]
        return arrays[0] if spatial_dims == 3 else np.stack(arrays), found[0].facts
    pixels, facts = decode(path, role, settings)
    return as_image(pixels, path, facts.nodata) if role == "image" else one_number(pixels, path, settings), facts


def _label(pair: Pair, spatial_dims: int, settings: ReadSettings) -> tuple[np.ndarray, FileFacts]:
    """The label numbers of an image. There may be one mask file per object."""
    if len(pair.labels) == 1:
        return _whole(pair.labels[0], spatial_dims, "label", settings)
    return join_objects(pair.labels, lambda path: _whole(path, spatial_dims, "label", settings)[0])


def read_by_windows(pair: Pair, spatial_dims: int, settings: ReadSettings) -> Contents:
    """The contents as `Stored`. Raises InputError if a file cannot be opened, or there is no label."""
    if not pair.labels:
        raise InputError(f"{pair.image}: has no label; reading by windows is for training, which needs labels")
    images = stored_pictures(pair.image, spatial_dims, "image", settings)
    arrays = [as_array(each) for each in images]
    if len(pair.labels) != 1:
        labels, label_facts = _label(pair, spatial_dims, settings)
        return Contents(arrays, [labels] if spatial_dims == 3 else list(labels), images[0].facts, label_facts)
    stored = stored_pictures(pair.labels[0], spatial_dims, "label", settings)
    if len(images) != len(stored):
        raise InputError(
            f"{pair.image}: has {len(images)} pictures but its label {pair.labels[0]} has {len(stored)}"
            + _PAGES * (len(images) == 1)
            + _CHANNELS * (spatial_dims == 2 and len(stored) == 1 and not settings.axes)
        )
    facts, label_facts = images[0].facts, stored[0].facts
    if spatial_dims == 2 and (order := _page_order(pair, facts, label_facts)) is not None:
        stored, label_facts = [stored[index] for index in order], _reordered(label_facts, facts)
    return Contents(arrays, [as_array(each) for each in stored], facts, _placed(label_facts, facts))


def _page_order(pair: Pair, facts: FileFacts, label_facts: FileFacts) -> list[int] | None:
    """See `page_order`. The message of its InputError names the file."""
    try:
        return page_order(facts, label_facts)
    except InputError as e:
        raise InputError(f"{pair.labels[0]}: {e}; they must be equal") from None


def _placed(label_facts: FileFacts, facts: FileFacts) -> FileFacts:
    """The facts of a label, with a note if it does not lie where its image lies."""
    note = elsewhere(facts, label_facts)
    return replace(label_facts, read_as=(*label_facts.read_as, note)) if note else label_facts


def _reordered(label_facts: FileFacts, facts: FileFacts) -> FileFacts:
    note = f"planes taken in the order of their image ({facts.axes}, not {label_facts.axes})"
    return replace(label_facts, read_as=(*label_facts.read_as, note))
