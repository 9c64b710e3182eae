"""Pictures that are read by windows: images of any size, of which only the requested windows are in memory.

    TIFF, BigTIFF, OME-TIFF     tile by tile or strip by strip; the full resolution of a pyramid
    .npy                        memory-mapped, window by window
    .zarr (v2, v3, OME-Zarr)    chunk by chunk; needs the package zarr
    PNG, JPEG, small TIFF       read whole, by `read_stack`

A file holds one or more pictures of one size. Values are converted as by `read_stack` (see `images`). Windows are
checked when they are read.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from unet_spec.errors import InputError

from ..windows import Slices, Windowed, bands
from .carried import volumes
from .decode import check_file, decode, is_tiff, one_line
from .facts import DEFAULTS, PLAIN, FileFacts, ReadSettings, Role, with_pixel_size
from .formats.axes import named_axes
from .formats.channels import AVERAGED, EQUAL, REPEATED, adapted, advice
from .formats.decode_nifti import as_times
from .formats.encode_nifti import KEY as NIFTI
from .formats.units import parse_pixel_size
from .images import as_image
from .readers_tiff import CACHE, Pages, open_remote_tiff, open_tiff
from .stores.open_zarr import is_zarr, open_array
from .stores.remote import shown, url_of
from .stores.signed import unsigned

if TYPE_CHECKING:
    from jaxtyping import Shaped

WHOLE_BELOW = 2**28
"""Bytes of pixels up to which a TIFF is read in one piece, with all checks of `read_stack`."""

MAX_CHANNELS = 4
"""In an array without named axes, a last axis of at most this length is that of channels, a longer one spatial."""

COLOUR = 3
"""A last axis of this length is that of red, green and blue, for every network."""

MAX_PICTURES = 100_000
"""Maximum number of pictures in a file."""


@dataclass(frozen=True)
class Picture:
    """An image (*spatial, C) that is read by windows: index it by one slice (without step) per spatial axis.

    Attributes:
        shape: (*spatial, C).
        read: function from slices with known ends, one per spatial axis, to the stored pixels (*window, C).
        where: the file, for messages.
        held: maximum memory, in bytes, that stays allocated after reading from the file. For an array, which is mapped
            for each window, a small number that limits how many are open.
        facts: the file's metadata about its pixels, and the decisions of the reader.

    Example:
        >>> from unet_data import Picture
        >>> zeros = Picture((90, 80, 1), lambda window: np.zeros([s.stop - s.start for s in window] + [1]), "zeros")
        >>> zeros[:20, 75:].shape
        (20, 5, 1)
    """

    shape: tuple[int, ...]
    read: Callable[[Slices], np.ndarray]
    where: str
    held: int = 2**16
    facts: FileFacts = PLAIN

    @property
    def ndim(self) -> int:
        return len(self.shape)

    def __getitem__(self, window: Slices) -> Shaped[np.ndarray, "*window c"]:
        """The pixels (*window, C), uint8, uint16 or float32. Raises InputError: damaged, NaN or infinite values."""
        ends = [s.indices(n)[:2] for s, n in zip(window, self.shape, strict=False)]
        try:
            pixels = self.read(tuple(slice(*e) for e in ends))
        except InputError:
            raise
        except Exception as e:  # the libraries raise nearly everything on damaged bytes
            at = ", ".join(f"{a}:{b}" for a, b in ends)
            raise InputError(f"{self.where}: the window [{at}] cannot be read; the file is damaged ({e})") from None
        native = pixels.astype(pixels.dtype.newbyteorder("="), copy=False)
        return as_image(native, self.where, self.facts.nodata) if native.size else native


def open_pictures(
    path: str | Path,
    spatial_dims: int,
    channels: int | None = None,
    whole_below: int = WHOLE_BELOW,
    role: Role = "image",
    settings: ReadSettings | None = None,
) -> list[Picture]:
    """The pictures of a file, all of one shape (*spatial, C).

    For a 2-D network each page of a TIFF is a picture; for a 3-D network the pages are one volume. Arrays (.npy, .zarr)
    are (*spatial), (*spatial, C), (C, *spatial) if that fits `channels`, (N, *spatial) or (N, *spatial, C). An OME-Zarr
    states its axes.

    Args:
        path: a PNG, JPEG, TIFF or .npy file, or a .zarr folder; or the URL of a TIFF or .zarr.
        spatial_dims: 2 for images (H, W, C), 3 for volumes (D, H, W, C).
        channels: C. None: any; the last axis of an array is then that of channels if its length is at most 4.
        whole_below: bytes of pixels up to which a TIFF is read in one piece.
        role: "label" keeps the numbers of a mask file (palette indices, 2- and 4-bit grey) for `Picture.read`.
        settings: how files are read if there is a choice.

    Raises:
        InputError: the file is missing, damaged, incomplete, of another format, or has other axes or channels.

    Example:
        >>> from unet_data import open_pictures
        >>> np.save("volume.npy", np.zeros((40, 50, 60), np.uint16))
        >>> [volume] = open_pictures("volume.npy", spatial_dims=3)
        >>> volume.shape, volume[10:12, :3, :4].shape
        ((40, 50, 60, 1), (2, 3, 4, 1))
    """
    path, settings = unsigned(path), settings or DEFAULTS
    check_depth(settings, spatial_dims)
    if (url := url_of(path)) is None:
        return _opened(path, spatial_dims, channels, whole_below, role, settings)
    try:
        return _opened(path, spatial_dims, channels, whole_below, role, settings)
    except InputError as e:  # the readers' messages begin with the path
        raise InputError(str(e).replace(str(path), url)) from None


def _opened(
    path: Path, spatial_dims: int, channels: int | None, whole_below: int, role: Role, settings: ReadSettings
) -> list[Picture]:
    """See `open_pictures`."""
    changes = role == "image" and settings.channels in ("repeat", "grey")
    stored = None if changes else channels
    if is_zarr(path):
        pictures = _open_zarr(path, spatial_dims, stored, role, settings)
    elif url_of(path) is not None:
        pages = open_remote_tiff(path, role, settings)
        pictures = [replace(each, facts=pages.facts) for each in _of_pages(pages, spatial_dims, shown(path))]
    elif path.suffix.lower() == ".npy":
        pictures = _open_npy(path, spatial_dims, stored, role, settings)
    else:
        pages = open_tiff(path, whole_below, role, settings) if is_tiff(check_file(path)) else None
        if pages is None:
            stack, facts = decode(path, role, settings)
            if channels == 1 < stack.shape[-1] and NIFTI in dict(facts.extra):
                stack, facts = as_times(stack, facts)
            stack = stack if role == "label" else as_image(stack, path, facts.nodata)
            parts = stack if spatial_dims == 2 else [stack[pages] for pages in volumes(facts, len(stack), path)]
            pictures = [Picture(part.shape, part.__getitem__, str(path), stack.nbytes, facts) for part in parts]
        else:
            pictures = [replace(each, facts=pages.facts) for each in _of_pages(pages, spatial_dims, str(path))]
    if settings.axes and (is_zarr(path) or path.suffix.lower() == ".npy"):
        note = f"axes read as {pictures[0].facts.axes}"
        pictures = [replace(p, facts=replace(p.facts, read_as=(*p.facts.read_as, note))) for p in pictures]
    if role == "image":
        pictures = [replace(each, facts=with_pixel_size(each.facts, settings.pixel_size)) for each in pictures]
    if changes and not (pictures[0].facts.read_as and pictures[0].facts.read_as[-1] in (REPEATED, AVERAGED)):
        pictures = [_adapted(each, settings.channels) for each in pictures]
    if channels == 1 and pictures[0].shape[-1] == 3 and all(map(equal_channels, pictures)):
        pictures = [_adapted(each, "grey", EQUAL) for each in pictures]
    found, coloured = pictures[0].shape[-1], pictures[0].facts.palette == "colour"
    if channels is not None and found != channels:
        raise InputError(
            f"{path}: has {found} channel{'s' * (found > 1)} (shape {pictures[0].shape}); the network takes {channels}"
            + "; --channels all keeps alpha" * (pictures[0].facts.alpha == "dropped" and found + 1 == channels)
            + "; --palette index, if its palette only colours a grey image" * (coloured and channels == 1)
            + advice(found, channels)
        )
    return pictures


def check_depth(settings: ReadSettings, spatial_dims: int) -> None:
    """Raises InputError if the axes or the pixel size given by the user have no depth but the network is 3-D."""
    if spatial_dims == 3 and len(parse_pixel_size(settings.pixel_size)[0]) == 2:
        raise InputError(f"pixel_size {settings.pixel_size!r}: a 3-D network needs it along z, too")
    if spatial_dims == 3 and settings.axes and "Z" not in settings.axes:
        raise InputError(f"axes {settings.axes!r}: a 3-D network needs Z, the depth, among them")


def equal_channels(image: Windowed) -> bool:
    """Whether the channels of an image (*spatial, C), read band by band, are equal everywhere."""
    return all(bool((pixels == pixels[..., :1]).all()) for pixels in (image[b] for b in bands(image.shape[:-1])))


def _adapted(picture: Picture, channels: str, note: str = "") -> Picture:
    """The picture with the channels of `formats.channels.adapted`."""
    found, own = adapted(np.zeros((1, picture.shape[-1]), np.uint8), channels)
    if not own:
        return picture
    facts = replace(picture.facts, read_as=(*picture.facts.read_as, note or own))

    def read(window: Slices) -> np.ndarray:
        return adapted(picture.read(window), channels)[0]

    return replace(picture, shape=(*picture.shape[:-1], found.shape[-1]), read=read, facts=facts)


def _of_pages(pages: Pages, spatial_dims: int, where: str) -> list[Picture]:
    """The pages of a TIFF as images, or as one volume."""
    count, *plane = pages.shape
    held = min(math.prod(pages.shape) * 8, CACHE)

    def page(number: int) -> Callable[[Slices], np.ndarray]:
        return lambda window: pages.read(number, window)

    def volume(window: Slices) -> np.ndarray:
        return np.stack([pages.read(i, window[1:]) for i in range(window[0].start, window[0].stop)])

    def part(planes: list[int]) -> Callable[[Slices], np.ndarray]:
        return lambda window: np.stack([pages.read(i, window[1:]) for i in planes[window[0]]])

    if spatial_dims == 3:
        each = volumes(pages.facts, count, where)
        if len(each) == 1:
            return [Picture(pages.shape, volume, where, held)]
        return [Picture((len(planes), *plane), part(planes), where, held) for planes in each]
    _check_count(where, count)
    return [Picture(tuple(plane), page(i), where, held) for i in range(count)]


def _check_count(where: object, count: int) -> None:
    if count > MAX_PICTURES:
        raise InputError(f"{where}: holds {count} images; at most {MAX_PICTURES} per file can be read: split it")


def _open_npy(path: Path, spatial_dims: int, channels: int | None, role: Role, settings: ReadSettings) -> list[Picture]:
    check_file(path)
    try:
        header = np.load(path, mmap_mode="r", allow_pickle=False)
    except Exception as e:  # numpy parses the header as Python: SyntaxError, TokenError, RecursionError, ...
        raise InputError(
            f"{path}: cannot be read, since it is not a .npy file or is incomplete ({one_line(e)})"
        ) from None

    def read(index: tuple[Any, ...]) -> np.ndarray:
        # Mapped for each window: the pages of a mapping that stays open could fill memory with the whole file.
        return np.array(np.load(path, mmap_mode="r", allow_pickle=False)[index])

    axes = _named(path, header.shape, role, settings) or _guess(header.shape, spatial_dims, channels, path)
    return _arranged(header.shape, header.dtype, read, axes, spatial_dims, path)


def _open_zarr(
    path: Path, spatial_dims: int, channels: int | None, role: Role, settings: ReadSettings
) -> list[Picture]:
    found = open_array(path)
    axes = _named(path, found.shape, role, settings) or found.axes
    axes = axes or _guess(found.shape, spatial_dims, channels, path)
    pictures = _arranged(found.shape, found.dtype, found.read, axes, spatial_dims, path)
    return [replace(each, facts=replace(each.facts, **found.facts)) for each in pictures]


def _named(path: Path, shape: tuple[int, ...], role: Role, settings: ReadSettings) -> tuple[str, ...]:
    """Names of the axes of an array, as given by the user, or (). Axes of length 1 without a name are "q"."""
    if not settings.axes:
        return ()
    axes, lengths = named_axes(settings.axes, shape, role == "label", path)
    letters = iter(axes.lower().replace("s", "c"))
    return tuple(next(letters) if n > 1 or len(lengths) == len(shape) else "q" for n in shape)


def _arranged(
    shape: tuple[int, ...],
    dtype: np.dtype,
    read: Callable[[tuple[Any, ...]], np.ndarray],
    names: tuple[str, ...],
    dims: int,
    path: Path,
) -> list[Picture]:
    """The pictures of an array with named axes in any order."""
    if dtype.kind not in "buif":
        raise InputError(f"{path}: holds {dtype} values; images must be integer or floating point")
    if not math.prod(shape):
        raise InputError(f"{path}: holds no pixels (shape {shape})")
    spatial = ("z", "y", "x")[-dims:]
    counted = [i for i, name in enumerate(names) if name not in (*spatial, "c")]
    if len(names) != len(shape) or any(name not in names for name in spatial):
        raise InputError(f"{path}: has axes {''.join(names)} of shape {shape}; expected {''.join(spatial)} among them")
    place = {name: names.index(name) for name in spatial}
    channel = names.index("c") if "c" in names else None
    size = tuple(shape[place[name]] for name in spatial)
    depth = 1 if channel is None else shape[channel]

    def picture(fixed: tuple[int, ...]) -> Picture:
        def window(slices: Slices) -> np.ndarray:
            index: list[Any] = [slice(None)] * len(shape)
            for i, value in zip(counted, fixed, strict=True):
                index[i] = slice(int(value), int(value) + 1)
            for name, s in zip(spatial, slices, strict=True):
                index[place[name]] = s
            pixels = np.asarray(read(tuple(index)))
            order = [*counted, *(place[name] for name in spatial), *([] if channel is None else [channel])]
            return pixels.transpose(order).reshape(*(s.stop - s.start for s in slices), depth)

        return Picture((*size, depth), window, str(path), facts=facts)

    facts = FileFacts(str(dtype), "".join(names).upper(), tuple(map(int, shape)))
    _check_count(path, math.prod(shape[i] for i in counted))
    return [picture(fixed) for fixed in np.ndindex(*(shape[i] for i in counted))]


def _guess(shape: tuple[int, ...], dims: int, channels: int | None, path: Path) -> tuple[str, ...]:
    """Names for the axes of an array without names."""
    spatial = ("z", "y", "x")[-dims:]
    if channels is None:
        last = len(shape) == dims + 2 or (len(shape) == dims + 1 and shape[-1] <= MAX_CHANNELS)
        channels = shape[-1] if last else 1
    if len(shape) == dims:
        return spatial
    if len(shape) == dims + 1 and shape[-1] in (channels, COLOUR):
        return (*spatial, "c")
    if len(shape) == dims + 1 and shape[0] == channels:
        return ("c", *spatial)
    if len(shape) == dims + 1 and channels == 1:
        return ("n", *spatial)
    if len(shape) == dims + 2:
        return ("n", *spatial, "c")
    raise InputError(
        f"{path}: an array of shape {shape} is not a {dims}-D image with {channels} channel{'s' * (channels > 1)}; "
        f"expected ({', '.join(spatial)}), ({', '.join(spatial)}, c) or (c, {', '.join(spatial)}); "
        "--axes names the axes, such as TZYX"
    )
