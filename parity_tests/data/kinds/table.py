"""Every kind of input, what the command must say of it, and a table of what it says."""

from __future__ import annotations

import io
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np

from unet_spec import Checkpoint, DataSpec, preset, random_tensors
from unet_tools.cli import main

from . import labelled, single

Make = Callable[[Path, np.random.Generator], object]


@dataclass(frozen=True)
class Kind:
    """A kind of input.

    Attributes:
        make: writes one into a folder; of an image to segment, it returns the path.
        words: parts of what the command must print.
        code: the exit code.
        flags: of the command.
        same: (image, result) to whether the result is right; None: for `unet data check`, which has no result.
        needs: packages beside those that always are there.
    """

    make: Make
    words: tuple[str, ...]
    code: int = 0
    flags: tuple[str, ...] = ()
    same: Callable[[Path, Path], bool] | None = None
    needs: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return self.make.__name__.replace("_", " ")


@dataclass(frozen=True)
class Row:
    """What became of an input: the kind's name, the exit code, the last line printed, and whether all is right."""

    name: str
    code: int
    last: str
    right: bool


_THREE = ("--spatial-dims", "3")
_ALL = f"files: {2 * labelled.COUNT} paired, 0 left out"
KINDS = (
    Kind(labelled.palettes_that_differ, ("a.png", "b.png", "has the colour (220, 30, 30)", "--palette index"), 2),
    Kind(labelled.white_is_zero_labels, ("stored numbers kept: 6 of 6 labels", "--white-is-zero displayed")),
    Kind(labelled.jpegs_with_a_preview, ("left out the previews of an MPO file", "6 of 6 images")),
    Kind(labelled.jpegs_with_an_orientation, ("turned by the orientation tag (6): 6 of 6 images",)),
    Kind(labelled.infrared_as_alpha, ("3 channel(s)", "alpha dropped: 6 of 6 images; --channels all keeps it")),
    Kind(labelled.infrared_as_alpha, ("4 channel(s)", "alpha kept"), flags=("--channels", "all")),
    Kind(labelled.declared_nodata, ("declares -9999 as no data: 6 of 6 images", "8.3% of all pixels are ignored")),
    Kind(labelled.one_ome_file_a_time_point, ("6 images", "left out the other files that an OME-TIFF refers to")),
    Kind(labelled.pairs_of_other_endings, (_ALL,)),
    Kind(labelled.arrays_beside_pictures, (_ALL,)),
    Kind(labelled.pairs_in_a_subfolder, (_ALL,)),
    Kind(labelled.sorted_by_diagnosis, ("normal 0", "only class 0 occurs in its label")),
    Kind(labelled.time_and_depth, ("6 images, 4x96x96",), flags=_THREE),
    Kind(labelled.one_bit_beside_eight, (_ALL, "foreground")),
    Kind(labelled.dangling_links, ("files: 12 paired, 2 left out", "link")),
    Kind(labelled.accents_of_two_spellings, (_ALL,)),
    Kind(labelled.masks_of_other_pictures, ("do the masks belong to these images?",)),
    Kind(labelled.grey_stored_as_classes_with_255, ("255", "--ignore 255"), 2),
    Kind(labelled.grey_stored_as_classes_with_255, ("6.2% of all pixels are ignored",), flags=("--ignore", "255")),
    Kind(labelled.nifti_volumes, ("2 images, 4x96x96",), flags=_THREE, needs=("nibabel",)),
    Kind(single.georeference, ("→",), same=single.same_georeference),
    Kind(single.hyperstack, ("→",), flags=_THREE, same=single.same_axes),
    Kind(single.affine, ("→",), flags=_THREE, same=single.same_affine, needs=("nibabel",)),
    Kind(single.ome_zarr, ("→",), same=single.same_transformations, needs=("zarr",)),
)


def run(kind: Kind, folder: Path, seed: int = 0) -> Row:
    """Makes an input of a kind in a new folder, and runs the command on it."""
    folder.mkdir(parents=True)
    made = kind.make(folder, np.random.default_rng(seed))
    if kind.same is None:
        code, text = heard(["data", "check", str(folder), *kind.flags])
        right = True
    else:
        assert isinstance(made, Path)
        config = preset("same", widths=(2, 4), spatial_dims=3 if kind.flags == _THREE else 2)
        tensors = random_tensors(config.graph, 0, np.float32)
        Checkpoint(config, tensors, DataSpec((0.3,), (0.2,), ("nothing", "disc"))).save(folder / "network")
        result = folder / made.name.replace("in", "out", 1)
        code, text = heard(["predict", str(folder / "network"), str(made), "-o", str(result)])
        right = result.exists() and kind.same(made, result)
    text = text.replace(str(folder), "FOLDER")
    missing = [words for words in kind.words if words not in " ".join(text.split())]
    last = next((line for line in reversed(text.splitlines()) if line.strip()), "").strip()
    name = " ".join((kind.name, *kind.flags))
    return Row(name, code, last, right and code == kind.code and not missing and "Traceback" not in text)


def heard(arguments: Sequence[str]) -> tuple[int, str]:
    """The exit code of a command, and all that it printed."""
    stream = io.StringIO()
    with patch.dict(os.environ, COLUMNS="200"), redirect_stdout(stream), redirect_stderr(stream):
        code = main(list(arguments))
    return code, stream.getvalue()


def lines(rows: Sequence[Row]) -> Iterator[str]:
    """The table, as Markdown."""
    yield "| input | exit code | last line | |"
    yield "|---|---|---|---|"
    for row in rows:
        yield f"| {row.name} | {row.code} | {row.last.replace('|', '/')} | {'right' if row.right else 'WRONG'} |"
