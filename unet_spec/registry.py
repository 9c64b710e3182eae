"""The architectures by their name in config.json, their presets, and the lookup of a twin's network classes.

All information about an architecture is the `FAMILY` of its file in `unet_spec.families`. A new file there is found
automatically.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from importlib import import_module
from typing import Any, TypeVar

from . import families
from .errors import InputError, suggestion
from .network import ARCHITECTURES, Family, NetworkConfig

T = TypeVar("T")
S = TypeVar("S")


def _collect() -> Iterator[Family]:
    """The families of all files of the package: the U-Net first, the others by file name."""
    names = [module.name for module in pkgutil.iter_modules(families.__path__)]
    for name in sorted(names, key=lambda name: (name != "unet", name)):
        if family := getattr(import_module(f"{families.__name__}.{name}"), "FAMILY", None):
            yield family


FAMILIES: dict[str, Family] = {family.config.architecture: family for family in _collect()}
"""Families by architecture. The U-Net is the first."""

PRESETS: dict[str, NetworkConfig] = {
    name: config for family in FAMILIES.values() for name, config in family.presets.items()
}
"""Presets by name. Those of the U-Net come first; each architecture has at least one."""


def preset_names() -> tuple[str, ...]:
    """Names of all presets: those of the U-Net first, then those of the other architectures.

    Example:
        >>> preset_names()[:3]
        ('paper', 'article', 'article-bilinear')
    """
    return tuple(PRESETS)


def preset(name: str, **changes: Any) -> NetworkConfig:
    """A preset's config.

    Args:
        name: one of `preset_names()`.
        changes: fields of the config to change.

    Raises:
        InputError: unknown name, key or value.

    Example:
        >>> from unet_spec import preset
        >>> preset("paper").graph.parameter_count
        31030658
        >>> preset("unet++", in_channels=1, widths=(8, 16, 32)).graph.parameter_count
        32865
    """
    if name not in PRESETS:
        raise InputError(f"unknown preset {name!r}; known: {', '.join(PRESETS)}{suggestion(name, PRESETS)}")
    return PRESETS[name].replace(**changes)


def narrow(name: str) -> NetworkConfig:
    """A narrow version of a preset, which trains within minutes on a CPU.

    Args:
        name: one of `preset_names()`.

    Raises:
        InputError: unknown name.

    Example:
        >>> narrow("paper").widths
        (8, 16, 32, 64)
    """
    family = FAMILIES[preset(name).architecture]
    return family.narrow.get(name) or preset(name, widths=(8, 16, 32, 64))


def check_config(network: type[Any], config: NetworkConfig) -> None:
    """Raises InputError if `config` is none, or a network class of a twin is registered for another architecture."""
    expected, package = network.config_type, network.__module__.partition(".")[0]
    if not isinstance(config, NetworkConfig):
        raise InputError(f"a network is made of a config, such as {package}.preset('paper'), not of {config!r}")
    if not isinstance(config, expected):
        raise InputError(
            f"{network.__name__} is the network {expected.architecture!r}, the config is of {config.architecture!r}; "
            f"{package}.from_pretrained and {package}.create take every architecture"
        )


class Networks(Mapping[str, type[T]]):
    """The network classes of one framework by architecture. The file of a class is imported at its first use.

    Args:
        package: package of the files, such as "unet_jax.families". They have the names of the configs' files.
    """

    def __init__(self, package: str):
        self._package = package
        self._registered: dict[str, type[Any]] = {}

    def register(self, config: type[NetworkConfig]) -> Callable[[type[S]], type[S]]:
        """A class decorator that registers the class as the network of a config class, its attribute `config_type`.

        Args:
            config: the config class.

        Example:
            >>> from unet_spec import UNetConfig
            >>> networks = Networks("my_package.families")
            >>> @networks.register(UNetConfig)
            ... class MyUNet: ...
            >>> networks["unet"].__name__
            'MyUNet'
        """

        def enter(network: type[S]) -> type[S]:
            self._registered[config.architecture] = network
            network.config_type = config  # type: ignore[attr-defined]
            return network

        return enter

    def __getitem__(self, architecture: str) -> type[T]:
        """Raises KeyError for an unknown architecture, InputError if no network is registered for it."""
        if architecture not in self._registered:
            config = ARCHITECTURES[architecture]
            module = f"{self._package}.{config.__module__.rpartition('.')[2]}"
            try:
                import_module(module)
            except ModuleNotFoundError as e:
                if e.name != module:
                    raise
            if architecture not in self._registered:
                raise InputError(
                    f"{architecture!r} has no network in {self._package.partition('.')[0]}: {module} does not register"
                    f" a class with @register({config.__name__})"
                )
        return self._registered[architecture]

    def __iter__(self) -> Iterator[str]:
        return iter(ARCHITECTURES)

    def __len__(self) -> int:
        return len(ARCHITECTURES)

    def called(self, name: str) -> type[T]:
        """The class of this name. Raises AttributeError if there is none."""
        if name[:1].isupper():  # Python also looks up submodules before it imports them
            for architecture in self:
                with suppress(InputError):
                    if (network := self[architecture]).__name__ == name:
                        return network
        raise AttributeError(f"module {self._package!r} has no attribute {name!r}")
