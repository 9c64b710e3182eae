"""Common to all architectures: the base class of their configs, and their entries in the registry."""

from __future__ import annotations

import dataclasses
import inspect
import json
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, Self, get_args, get_origin, get_type_hints

from .errors import InputError, suggestion
from .geometry import Geometry
from .graph import Graph
from .untrusted.strict_json import parse_json

ARCHITECTURES: dict[str, type[NetworkConfig]] = {}
"""Config classes by the architecture's name in config.json. Subclasses of NetworkConfig are added automatically."""


class NetworkConfig:
    """Base class of all network configs: a frozen dataclass that is stored as config.json and determines the graph.

    A subclass states its architecture, `class UNetConfig(NetworkConfig, architecture="unet")`, adds its fields, checks
    their ranges in `validate` and builds its graph in `build`.

    Attributes:
        architecture: name of the architecture in config.json.
        in_channels: channels of the image.
        out_channels: channels of the logits. One channel is the logit of class 1 against class 0; K > 1 are K classes.
        spatial_dims: 2 for images, 3 for volumes.
        distance_head: whether the output has a further channel after the logits, the predicted distance to the border
            of the object.

    Example:
        >>> from unet_spec import preset
        >>> config = preset("paper")
        >>> NetworkConfig.from_json(config.to_json()) == config, config.replace(out_channels=1).classes
        (True, 2)
    """

    architecture: ClassVar[str]
    __dataclass_fields__: ClassVar[dict[str, dataclasses.Field[Any]]]
    in_channels: int
    out_channels: int
    spatial_dims: int
    distance_head: bool = False

    def __init_subclass__(cls, architecture: str, **kwargs: Any) -> None:
        super().__init_subclass__(**kwargs)
        cls.architecture = architecture
        ARCHITECTURES[architecture] = cls

    def __post_init__(self) -> None:
        hints = _type_hints(type(self))
        for field in dataclasses.fields(self):
            if isinstance(value := getattr(self, field.name), list):
                object.__setattr__(self, field.name, tuple(tuple(v) if isinstance(v, list) else v for v in value))
            elif isinstance(value, dict) and hints[field.name] is NetworkConfig:
                object.__setattr__(self, field.name, NetworkConfig.from_dict(value, field.name))
            _check_type(field.name, getattr(self, field.name), hints[field.name])
        for name in ("in_channels", "out_channels"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        require(self.spatial_dims in (2, 3), "spatial_dims", self.spatial_dims, "2 or 3")
        self.validate()

    def validate(self) -> None:
        """Raises InputError if a field has a value that is not allowed. Types have been checked."""

    def check_classes(self, overlapping: bool) -> None:
        """Raises InputError if the network does not support this kind of classes.

        Args:
            overlapping: whether a pixel may have several classes; see `DataSpec`.
        """

    def check_classes_alone(self, program: str) -> None:
        """Raises InputError, which names the `program`, if the output has more than the logits that it supports."""
        if self.distance_head:
            raise InputError(
                f"{program} supports class logits only, but this network also predicts a distance; export a bundle "
                "(unet export), or train a network without --distance-head"
            )

    def build(self) -> Graph:
        """Builds the graph. Use `graph`, which caches it."""
        raise NotImplementedError

    @property
    def classes(self) -> int:
        """Number of classes: 2 for a single logit, otherwise the number of logits."""
        return max(self.out_channels, 2)

    @property
    def output_channels(self) -> int:
        """Channels of the output: the logits and, with a distance head, the distance after them."""
        return self.out_channels + self.distance_head

    @property
    def logits(self) -> str:
        """Name of the graph's node that computes the logits."""
        return self.graph[self.graph.output.name].inputs[0] if self.distance_head else self.graph.output.name

    @cached_property
    def graph(self) -> Graph:
        """The layer graph: the executable specification of this network."""
        return self.build()

    @cached_property
    def geometry(self) -> Geometry:
        """Sizes that fit, margins, receptive field."""
        return Geometry(self.graph)

    def replace(self, **changes: Any) -> Self:
        """A copy with some fields changed. Raises InputError as the constructor does."""
        self._check_keys(changes, type(self).__name__)
        return dataclasses.replace(self, **changes)

    def to_dict(self) -> dict[str, Any]:
        """The fields for JSON: `architecture` first, tuples as lists, a nested config as an object."""
        values = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        plain = {k: v.to_dict() if isinstance(v, NetworkConfig) else v for k, v in values.items()}
        return {"architecture": self.architecture} | {
            k: list(v) if isinstance(v, tuple) else v for k, v in plain.items()
        }

    def to_json(self) -> str:
        """The content of config.json."""
        return json.dumps(self.to_dict(), indent=2) + "\n"

    @classmethod
    def from_dict(cls, values: Any, where: str = "config") -> Self:
        """The inverse of `to_dict`. Missing keys have their default values; a missing architecture is "unet".

        Called on NetworkConfig, it accepts any architecture; on a subclass, only its own. Raises InputError for unknown
        architectures or keys and for wrong types or values.
        """
        if not isinstance(values, dict):
            raise InputError(f"{where}: a config is a JSON object, not {type(values).__name__}")
        values = dict(values)
        allowed = {name: kind for name, kind in ARCHITECTURES.items() if issubclass(kind, cls)}
        if (name := values.pop("architecture", "unet")) not in list(allowed):
            known = ", ".join(map(repr, allowed))
            raise InputError(f"{where}: unknown architecture {name!r}; allowed: {known}{suggestion(name, allowed)}")
        kind = allowed[name]
        kind._check_keys(values, where)
        try:
            return kind(**values)
        except InputError as e:
            raise InputError(f"{where}: {e}") from None

    @classmethod
    def from_json(cls, text: str, where: str = "config") -> Self:
        """The inverse of `to_json`. Raises InputError, also if the text is not JSON."""
        return cls.from_dict(parse_json(text, where), where)

    @classmethod
    def _check_keys(cls, values: dict[str, Any], where: str) -> None:
        known = [f.name for f in dataclasses.fields(cls)]
        if unknown := [key for key in values if key not in known]:
            raise InputError(f"{where}: unknown key {', '.join(map(repr, unknown))}; known: {', '.join(known)}")


@dataclass(frozen=True)
class Family:
    """The entry of an architecture in the registry, given by its file in `unet_spec.families`.

    Commands, tables, documentation and tests are derived from it; `unet_spec.registry` collects the entries.

    Attributes:
        config: config class. The docstring of its module is the figure.
        when: when to choose this architecture, in a sentence or two.
        image_size: pixels per axis of the images for which the reference implementation is made.
        presets: configs by name. The first is the reference.
        narrow: narrow versions of the presets, by name, that train within minutes on a CPU. Default for a preset:
            `preset(name, widths=(8, 16, 32, 64))`.
        tests: networks for tests, by case, as small as possible. The first is used in every check.
        test_size: minimum number of pixels per axis of the tests' images.

    Example:
        >>> from unet_spec import FAMILIES
        >>> FAMILIES["unet++"].config.__name__, list(FAMILIES["unet++"].presets)
        ('UNetPPConfig', ['unet++', 'unet++-deep'])
    """

    config: type[NetworkConfig]
    when: str
    image_size: int
    presets: Mapping[str, NetworkConfig]
    narrow: Mapping[str, NetworkConfig] = dataclasses.field(default_factory=dict)
    tests: Mapping[str, NetworkConfig] = dataclasses.field(default_factory=dict)
    test_size: int = 1

    @property
    def figure(self) -> str:
        """The docstring of the architecture's file: source, figure, and differences between reference and paper."""
        return inspect.cleandoc(sys.modules[self.config.__module__].__doc__ or "")


def require(holds: bool, name: str, value: object, allowed: str) -> None:
    """Raises InputError, which states the field, its value and the allowed values, unless the condition holds."""
    if not holds:
        raise InputError(f"{name} is {value}; it must be {allowed}")


LEVELS = 12
"""Maximum number of levels: with 12, an image must have 2,048 pixels along each axis."""


def require_widths(widths: tuple[int, ...]) -> None:
    """Raises InputError unless there are 2 to `LEVELS` levels, each with at least one channel."""
    require(len(widths) >= 2, "widths", widths, "two levels or more, such as 64 128 256")
    require(len(widths) <= LEVELS, "widths", f"{len(widths)} numbers", f"at most {LEVELS}, one for each level")
    require(all(w >= 1 for w in widths), "widths", widths, "at least 1 at every level")


def require_norm(eps: float, momentum: float) -> None:
    """Raises InputError unless these are valid constants of a batch norm."""
    require(eps > 0, "norm_eps", eps, "above 0")
    require(0 < momentum <= 1, "norm_momentum", momentum, "in (0, 1]")


@cache
def _type_hints(kind: type[NetworkConfig]) -> dict[str, Any]:
    return get_type_hints(kind)


def _check_type(name: str, value: object, hint: Any) -> None:
    """Raises InputError if a value does not have the type of its field: int, float, bool, tuple of int, tuple of tuples
    of int, Literal, or the config of another network."""
    if get_origin(hint) is Literal:
        require(value in get_args(hint), name, repr(value), " or ".join(map(repr, get_args(hint))))
    elif get_origin(hint) is tuple and get_origin(get_args(hint)[0]) is tuple:
        fits = isinstance(value, tuple) and all(map(_whole_numbers, value))
        require(fits, name, repr(value), "a sequence of sequences of whole numbers")
    elif get_origin(hint) is tuple:
        require(_whole_numbers(value), name, repr(value), "a sequence of whole numbers")
    elif hint is float:
        require(isinstance(value, int | float) and not isinstance(value, bool), name, repr(value), "a number")
    elif hint is int:
        require(isinstance(value, int) and not isinstance(value, bool), name, repr(value), "a whole number")
    elif hint is bool:
        require(isinstance(value, bool), name, repr(value), "true or false")
    elif hint is NetworkConfig:
        require(isinstance(value, NetworkConfig), name, repr(value), "the config of a network")


def _whole_numbers(value: object) -> bool:
    return isinstance(value, tuple) and all(isinstance(v, int) and not isinstance(v, bool) for v in value)
