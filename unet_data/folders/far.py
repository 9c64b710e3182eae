"""Images and labels behind a URL: one TIFF, or a folder of TIFFs that its server can list."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from unet_spec.errors import InputError

from ..io.stores.remote import exists, names, shown
from ..io.stores.signed import remember, secret_of
from .listing import Entry, Listing, key_of, title
from .pairing import Layout, Pair, made_layout, paired

TIFF = (".tif", ".tiff", ".btf", ".svs", ".ndpi", ".scn", ".bif")
"""Endings of files that are read behind a URL."""

_VOLUME, _ENDINGS = "-volume", ("_mask", "-mask", "_label", "-label", "_labels", "-labels")


def far_tiff(path: Path) -> Layout:
    """The layout of one TIFF. Its labels are NAME-labels.tif for NAME-volume.tif, else a file with one of the endings
    of labels, such as NAME_mask.tif, beside it; no labels if there is no such file.

    Raises:
        InputError: the address is signed, and there is no such file; or the server does not answer.
    """
    stacks = path.stem.endswith(_VOLUME)
    stems = [path.stem.removesuffix(_VOLUME) + "-labels"] if stacks else [path.stem + ending for ending in _ENDINGS]
    secret = secret_of(path)
    for label in (path.with_name(stem + path.suffix) for stem in stems):
        remember(label, secret)
        if exists(label):
            return made_layout([Pair(path, (label,), title(path))], stacks=stacks)
    if secret.query:
        raise InputError(
            f"{shown(path)}: the query of this address gives access to no labels beside it; give an OME-Zarr with a "
            "label image, or an address that needs no query, such as s3:// with credentials in the environment"
        )
    return made_layout([Pair(path, (), title(path))], stacks=stacks)


def far_folder(path: Path, images: Sequence[str], labels: Sequence[str], masks: bool) -> Layout | None:
    """The layout of a folder with TIFFs in images/ and labels/. None: it has no such folders.

    Args:
        path: path that represents a URL.
        images, labels: names that the folders may have.
        masks: as in `find_layout`.
    """
    found = sorted(names(path))
    listings: list[Listing] = []
    for allowed in (images, labels):
        own = [name for name in found if name.lower() in allowed]
        if len(own) != 1:
            return None
        listings.append(_listing(path / own[0]))
    return paired(listings[0], listings[1], [], masks=masks)


def _listing(folder: Path) -> Listing:
    entries = [folder / name for name in sorted(names(folder)) if not name.startswith(".")]
    tiffs = [entry for entry in entries if entry.suffix.lower() in TIFF]
    others = [entry for entry in entries if entry not in tiffs]
    left = [Entry(entry, "left out", "behind a URL, only TIFF and zarr are read") for entry in others]
    files = {key_of(file, folder): file for file in tiffs}
    if len(files) < len(tiffs):
        raise InputError(f"{shown(folder)}: two files differ only in their ending; keep one of them")
    return Listing(folder, files, tuple(left))
