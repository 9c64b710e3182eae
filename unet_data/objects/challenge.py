"""Sequences in the layout of the Cell Tracking Challenge.

    01/t000.tif …                        the frames
    01_GT/SEG/man_seg000.tif …           true objects of some frames (or of planes of a volume: man_seg_000_012.tif)
    01_GT/TRA/man_track000.tif …         true markers of all frames; man_track.txt
    01_RES/mask000.tif …                 predicted objects of all frames; res_track.txt

A track file has a line for each number: number, first frame, last frame, parent (0 for none).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from unet_spec import InputError
from unet_spec.files import replacing, replacing_folder, write_errors_as_input_error

if TYPE_CHECKING:
    from jaxtyping import Int64, Integer, Shaped, UInt16

TRACKS = {"mask": "res_track.txt", "man_track": "man_track.txt"}


def mask_files(folder: Path, stem: str) -> dict[tuple[int, int | None], Path]:
    """Label files by (frame, plane); the plane is None unless only a plane of a volume has labels.

    Raises:
        InputError: there are none.
    """
    found = {}
    for path in sorted(folder.glob(f"{stem}*.tif")):
        if match := re.fullmatch(rf"{stem}_?(\d+)(?:_(\d+))?\.tif", path.name):
            found[int(match[1]), None if match[2] is None else int(match[2])] = path
    if not found:
        raise InputError(f"{folder}: contains no {stem}000.tif and so on, the names of the Cell Tracking Challenge")
    return found


def read_mask(path: Path) -> Integer[np.ndarray, "*spatial"]:
    """The labels in a file. Raises InputError."""
    import tifffile

    try:
        labels = tifffile.imread(path)
    except Exception as e:  # tifffile raises nearly everything on damaged bytes
        raise InputError(f"{path}: cannot be read ({e})") from None
    if labels.dtype.kind not in "ui":
        raise InputError(f"{path}: has {labels.dtype} values; labels are whole numbers")
    return labels.astype(np.int64)


def read_tracks(path: Path) -> Int64[np.ndarray, "n 4"]:
    """The rows of a track file: number, first frame, last frame, parent. Raises InputError."""
    try:
        rows = [[int(value) for value in line.split()] for line in path.read_text().splitlines() if line.strip()]
    except (OSError, ValueError) as e:
        raise InputError(f"{path}: cannot be read as tracks ({e})") from None
    if any(len(row) != 4 for row in rows):
        raise InputError(f"{path}: a line of tracks has four numbers: number, first frame, last frame, parent")
    return np.array(rows, np.int64).reshape(-1, 4)


class Linker:
    """Links the objects of consecutive frames by overlap.

    An object continues the object of the previous frame with which it shares the most pixels, if these are at least
    `share` of the smaller of the two. If several continue the same object, it has divided: each starts a new track with
    that object as parent.

    Args:
        share: minimum overlap, in 0..1.

    Example:
        >>> from unet_data import Linker
        >>> linker = Linker()
        >>> linker.add(np.array([[7, 7, 0, 0]])).tolist(), linker.add(np.array([[0, 1, 1, 0]])).tolist()
        ([[1, 1, 0, 0]], [[0, 1, 1, 0]])
        >>> linker.tracks.tolist()
        [[1, 0, 1, 0]]
    """

    def __init__(self, share: float = 0.3):
        self._share, self._rows, self._frame = share, dict[int, list[int]](), 0
        self._before: np.ndarray | None = None

    def add(self, labels: Integer[np.ndarray, "*spatial"]) -> UInt16[np.ndarray, "*spatial"]:
        """Adds the next frame. Returns its labels with track numbers.

        Raises:
            InputError: the shape differs from that of earlier frames, or there are more than 65535 tracks.
        """
        numbers, inverse = np.unique(np.append(0, labels), return_inverse=True)
        own = inverse[1:].reshape(labels.shape)
        sizes = np.bincount(own.ravel(), minlength=len(numbers))
        parents = np.zeros(len(numbers), np.int64)
        if self._before is not None:
            if self._before.shape != labels.shape:
                raise InputError(f"frame {self._frame} has shape {labels.shape}, those before {self._before.shape}")
            parents = self._parents(own, sizes)
        names = np.zeros(len(numbers), np.int64)
        children = np.bincount(parents)
        for i in range(1, len(numbers)):
            parent = int(parents[i])
            if parent and children[parent] == 1:
                names[i] = parent
                self._rows[parent][2] = self._frame
            else:
                names[i] = len(self._rows) + 1
                self._rows[int(names[i])] = [int(names[i]), self._frame, self._frame, parent]
        if len(self._rows) > 65535:
            raise InputError("more than 65535 tracks, the maximum in files of the Cell Tracking Challenge")
        self._before, self._frame = names[own].astype(np.uint16), self._frame + 1
        return self._before

    def _parents(self, own: np.ndarray, sizes: np.ndarray) -> np.ndarray:
        """The track in the previous frame that each object continues; 0 for none."""
        before = self._before.astype(np.int64)  # type: ignore[union-attr]
        old = np.bincount(before.ravel())
        table, common = np.unique(own * len(old) + before, return_counts=True)
        i, track = np.divmod(table, len(old))
        fits = (i > 0) & (track > 0) & (common >= self._share * np.minimum(sizes[i], old[track]))
        i, track, common = i[fits], track[fits], common[fits]
        order = np.lexsort((-track, common))  # the last one written wins: the largest overlap, then the lowest track
        parents = np.zeros(len(sizes), np.int64)
        parents[i[order]] = track[order]
        return parents

    @property
    def tracks(self) -> Int64[np.ndarray, "n 4"]:
        """A row for each track: number, first frame, last frame, parent or 0."""
        return np.array(list(self._rows.values()), np.int64).reshape(-1, 4)


def write_sequence(folder: str | Path, frames: Iterable[Integer[np.ndarray, "*spatial"]]) -> Int64[np.ndarray, "n 4"]:
    """Links the objects of frames by overlap and writes mask000.tif … and, last, res_track.txt.

    Args:
        folder: new folder, such as 01_RES.
        frames: labels (*spatial) of each frame, 0 for background.

    Returns:
        A row for each track: number, first frame, last frame, parent or 0.

    Raises:
        InputError: the folder cannot be written, or as `Linker.add`.

    Example:
        >>> from unet_data import write_sequence
        >>> write_sequence("01_RES", [np.array([[0, 5, 5, 0]]), np.array([[0, 0, 8, 8]])]).tolist()
        [[1, 0, 1, 0]]
    """
    import tifffile

    folder, linker = Path(folder), Linker()
    with write_errors_as_input_error(folder):
        folder.mkdir(parents=True, exist_ok=True)
        for number, labels in enumerate(frames):
            with replacing(folder / f"mask{number:03d}.tif") as temporary:
                tifffile.imwrite(temporary, linker.add(labels), compression="zlib")
        _write_tracks(folder / TRACKS["mask"], linker.tracks)
    return linker.tracks


def write_truth(
    folder: str | Path,
    images: Iterable[Shaped[np.ndarray, "*spatial"]],
    labels: Iterable[Integer[np.ndarray, "*spatial"]],
    tracks: Int64[np.ndarray, "n 4"],
    sequence: str = "01",
) -> None:
    """Writes a sequence with true labels: 01/t000.tif …, 01_GT/SEG/man_seg000.tif …, 01_GT/TRA/man_track000.tif …
    and 01_GT/TRA/man_track.txt.

    Args:
        folder: folder of the data set; created if missing.
        images: frames (*spatial) or (*spatial, 1), uint8 or uint16.
        labels: labels (*spatial) of each frame, 0 for background, up to 65535; a cell has the same number in all
            frames.
        tracks: a row for each number: number, first frame, last frame, number of the parent or 0.
        sequence: name of the folder of the frames.

    Raises:
        InputError: frames and labels do not fit together, the sequence exists, or cannot be written.

    Example:
        >>> from unet_data import cell_sequence, open_dataset, write_truth
        >>> cells = cell_sequence(3, 64, seed=0)
        >>> write_truth("cells", cells.images, cells.labels, cells.tracks)
        >>> open_dataset("cells").names
        ('01-t000', '01-t001', '01-t002')
    """
    import tifffile

    frames, truths = [np.asarray(i) for i in images], [np.asarray(each) for each in labels]
    if len(frames) != len(truths) or not frames:
        raise InputError(f"{len(frames)} frames and {len(truths)} labels; expected equally many, and at least one")
    for number, (image, truth) in enumerate(zip(frames, truths, strict=True)):
        if image.shape not in (truth.shape, (*truth.shape, 1)):
            raise InputError(f"frame {number} has shape {image.shape}, its label {truth.shape}; they must be equal")
        if truth.dtype.kind not in "ui" or (truth.size and not 0 <= truth.min() <= truth.max() <= 65535):
            raise InputError(f"frame {number}: labels are whole numbers from 0 to 65535 in the challenge's files")
    top, truth_folder = Path(folder) / sequence, Path(folder) / f"{sequence}_GT"
    for path in (top, truth_folder):
        if path.exists():
            raise InputError(f"{path}: exists; give another folder or another name of the sequence")
    with replacing_folder(top) as own, replacing_folder(truth_folder) as true:
        (true / "SEG").mkdir()
        (true / "TRA").mkdir()
        for number, (image, truth) in enumerate(zip(frames, truths, strict=True)):
            tifffile.imwrite(own / f"t{number:03d}.tif", image.reshape(truth.shape), compression="zlib")
            for path in (true / "SEG" / f"man_seg{number:03d}.tif", true / "TRA" / f"man_track{number:03d}.tif"):
                tifffile.imwrite(path, truth.astype(np.uint16), compression="zlib")
        _write_tracks(true / "TRA" / TRACKS["man_track"], tracks)


def _write_tracks(path: Path, tracks: np.ndarray) -> None:
    with replacing(path) as temporary:
        temporary.write_text("".join(" ".join(map(str, row)) + "\n" for row in tracks.tolist()))


def is_result(folder: Path) -> bool:
    """Whether a folder is the result of a sequence."""
    return (folder / TRACKS["mask"]).is_file() or any(folder.glob("mask000*.tif"))


def segmentation_pairs(result: Path, truth: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """True and predicted labels of the frames, or planes, that have true segmentations (01_GT/SEG). Raises
    InputError."""
    masks = mask_files(result, "mask")
    for (frame, plane), path in mask_files(truth / "SEG", "man_seg").items():
        if (frame, None) not in masks:
            raise InputError(f"{result}: has no mask of frame {frame}, but {path} is the label of that frame")
        labels = read_mask(masks[frame, None])
        yield read_mask(path), labels if plane is None else labels[plane]
