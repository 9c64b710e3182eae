"""Settings that separate objects, given the probabilities of a network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, get_args

from unet_spec import DataSpec, InputError, NetworkConfig

Method = Literal["distance", "probability", "predicted"]
BORDER = "border"
"""The name of a class for the border between objects; its pixels form no objects."""


@dataclass(frozen=True)
class ObjectSettings:
    """Settings that separate objects, given probabilities: for `objects_of` and `unet predict --output objects`.

    A pixel is foreground if 1 − p(background) ≥ `foreground`, and core if the probability of all object classes
    together (without a border class) ≥ `core`. The core is split at its necks, then grows into the foreground.

    Attributes:
        method: measure of a neck's width. "distance": distance to the edge of the core, which splits touching round
            objects at narrow places. "probability": probability of the core, for networks with a border class.
            "predicted": predicted distance to the border, for networks with a distance head.
        foreground, core: thresholds in 0..1. Probabilities are rounded to 1/255 first.
        neck: two parts become two objects if the neck between them is narrower than this share of the narrower part
            (in distance or probability); 0 never splits, 1 splits at every neck.
        smoothing: number of passes of the kernel 1 2 1 over the probabilities.
        fill_holes: maximum size, in pixels, of holes that are filled.
        grow: maximum number of pixels by which the core grows into the foreground.
        minimum_size: size in pixels below which objects are dropped.
        maximum_size: size in pixels above which objects are dropped. None: no limit.
        reach: maximum distance, in pixels, that is measured. Parts wider than twice this are not split.
        border: index of the border class. None: no such class.
        distance: index of the predicted distance among a pixel's values; set from the network. None: no such value.
        spacing: relative pixel size along each axis, whole numbers, such as (5, 1, 1) for planes 5 times as far apart
            as pixels. Empty: all equal.

    Raises:
        InputError: a value is out of range.

    Example:
        >>> from unet_data import ObjectSettings
        >>> ObjectSettings(neck=0.5, minimum_size=20).method
        'distance'
    """

    method: Method = "distance"
    foreground: float = 0.5
    core: float = 0.5
    neck: float = 0.75
    smoothing: int = 0
    fill_holes: int = 0
    grow: int = 0
    minimum_size: int = 1
    maximum_size: int | None = None
    reach: int = 48
    border: int | None = None
    spacing: tuple[int, ...] = ()
    distance: int | None = None

    def __post_init__(self) -> None:
        if self.method not in get_args(Method):
            raise InputError(f"object method {self.method!r}; allowed: {', '.join(get_args(Method))}")
        for name in ("foreground", "core", "neck"):
            value = getattr(self, name)
            if not (isinstance(value, int | float) and math.isfinite(value) and 0 <= value <= 1):
                raise InputError(f"object setting {name} is {value!r}; it must lie in 0..1")
        minimums = {"smoothing": 0, "fill_holes": 0, "grow": 0, "minimum_size": 1, "reach": 1}
        minimums |= {} if self.maximum_size is None else {"maximum_size": self.minimum_size}
        minimums |= {} if self.border is None else {"border": 1}
        minimums |= {} if self.distance is None else {"distance": 2}
        for name, low in minimums.items():
            value = getattr(self, name)
            if not isinstance(value, int) or isinstance(value, bool) or value < low:
                raise InputError(f"object setting {name} is {value!r}; it must be a whole number of at least {low}")
        if self.smoothing > 4 or self.reach > 2**14:
            raise InputError(f"object settings: smoothing is {self.smoothing}, reach {self.reach}; at most 4 and 16384")
        if not all(isinstance(s, int) and s >= 1 for s in self.spacing):
            raise InputError(f"object setting spacing is {self.spacing}; it must be whole numbers from 1")

    @classmethod
    def from_dict(cls, values: Any, where: str) -> ObjectSettings:
        """The inverse of `to_dict`. Raises InputError with a message that starts with `where`."""
        known = {field.name for field in fields(cls)}
        if not isinstance(values, Mapping) or set(values) - known:
            raise InputError(f"{where}: object settings must be an object with keys among {', '.join(sorted(known))}")
        try:
            own: dict[str, Any] = {k: tuple(v) if k == "spacing" else v for k, v in values.items()}
            return cls(**own)
        except (InputError, TypeError) as e:
            raise InputError(f"{where}: {e}") from None

    @classmethod
    def parsed(cls, texts: Sequence[str], base: ObjectSettings) -> ObjectSettings:
        """`base` with changes such as "neck=0.8" or "spacing=5,1,1"; "none" stands for None.

        Raises:
            InputError: unknown setting or value.
        """
        values = base.to_dict()
        for text in texts:
            name, _, value = text.partition("=")
            if name not in values or not value:
                raise InputError(f"object setting {text!r}; expected NAME=VALUE with one of {', '.join(values)}")
            if name == "spacing":
                values[name] = [_number(part) for part in value.split(",")]
            else:
                values[name] = None if value == "none" else value if name == "method" else _number(value)
        return cls.from_dict(values, "object settings")

    def described(self) -> str:
        """The settings in one line."""
        values = {k: v for k, v in self.to_dict().items() if v not in (None, [], 0) and k != "distance"}
        shown = {k: v for k, v in values.items() if (k, v) != ("minimum_size", 1)}
        return ", ".join(f"{k} {v}" for k, v in shown.items())

    def to_dict(self) -> dict[str, Any]:
        """The settings for JSON; without `distance` if it is None, so that older versions can read them."""
        values = asdict(self) | {"spacing": list(self.spacing)}
        return {k: v for k, v in values.items() if k != "distance" or v is not None}

    def steps(self, dims: int) -> tuple[int, ...]:
        """The spacing along each of `dims` axes. Raises InputError if it has another number of axes."""
        if self.spacing and len(self.spacing) != dims:
            raise InputError(f"object setting spacing is {self.spacing}; the images have {dims} axes")
        return self.spacing or (1,) * dims

    def halo(self, dims: int) -> tuple[int, ...]:
        """Pixels around a window, per axis, on which the heights of its pixels and their neighbours depend."""
        holes = self.fill_holes + 1 if self.fill_holes else 0
        around = self.smoothing + holes + 1
        distance = self.reach if self.method == "distance" else 0
        return tuple(around + max(-(-distance // step), self.grow) for step in self.steps(dims))


def _number(text: str) -> Any:
    try:
        return int(text)
    except ValueError:
        try:
            return float(text)
        except ValueError:
            return text  # the setting refuses it


def is_for_objects(data: DataSpec, config: NetworkConfig) -> bool:
    """Whether a network was trained to separate objects: object settings are stored with it, it has a class called
    "border", or it predicts distances."""
    named = config.classes > 2 and BORDER in [name.lower() for name in data.class_names[1:]]
    return not data.overlapping and (data.objects is not None or config.distance_head or named)


def settings_for(data: DataSpec, config: NetworkConfig, asked: ObjectSettings | None = None) -> ObjectSettings:
    """The object settings for a network: the requested ones, those stored with it, or the defaults for its classes.

    A class named "border" is used as the border class.

    Raises:
        InputError: the network's classes overlap, or the settings are damaged or do not suit it.
    """
    if data.overlapping:
        raise InputError("the network's classes overlap, so a pixel may belong to several objects; use --output labels")
    names = [name.lower() for name in data.class_names]
    if asked is None and data.objects is not None:
        asked = ObjectSettings.from_dict(data.objects, "the object settings stored with the network")
    border = names.index(BORDER, 1) if config.classes > 2 and BORDER in names[1:] else None
    own = asked or ObjectSettings(border=border, grow=0 if border is None else 2)
    if asked is None and config.distance_head:  # a prediction is noisier than a measured distance
        own = replace(own, method="predicted", neck=0.9, smoothing=2)
    elif asked is None and border is not None:
        own = replace(own, method="probability")
    own = replace(own, distance=config.classes if config.distance_head else None)
    if own.method == "predicted" and not config.distance_head:
        raise InputError(
            "the object method predicted needs a network that predicts distances (unet train --distance-head); "
            "allowed here: distance, probability"
        )
    own.steps(config.spatial_dims)
    if own.border is not None and (config.classes == 2 or own.border >= config.classes):
        raise InputError(f"the object settings name class {own.border} as the border, which the network does not have")
    return own
