"""Checks that tensors are exactly those of a network, and lists the differences."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..errors import InputError
from ..graph import Graph
from ..untrusted.text import one_line


def check_tensors(graph: Graph, tensors: Mapping[str, np.ndarray], where: str) -> None:
    """Raises InputError unless the tensors are exactly the graph's: none missing, none extra, none of another shape.

    Args:
        graph: graph of the network.
        tensors: arrays by PyTorch name, in PyTorch's axis order. Only their shapes are checked.
        where: beginning of the message: the file, or the attempted action.

    Example:
        >>> from unet_spec import preset, random_tensors
        >>> graph = preset("paper", widths=(2, 4)).graph
        >>> check_tensors(graph, random_tensors(graph, 0) | {"extra": np.zeros(1)}, "model.safetensors")
        Traceback (most recent call last):
        unet_spec.errors.InputError: model.safetensors: ...; 1 not part of this network: extra
    """
    check_shapes({name: param.shape for name, param in graph.params.items()}, tensors, where)


def check_finite(tensors: Mapping[str, np.ndarray], where: object) -> None:
    """Raises InputError with the name of the tensor if a weight is NaN or infinite.

    Args:
        tensors: arrays of any dtype, by name.
        where: beginning of the message: the file, or the attempted action.

    Example:
        >>> check_finite({"head.bias": np.array([0.0, np.nan])}, "model.safetensors")
        Traceback (most recent call last):
        unet_spec.errors.InputError: model.safetensors: head.bias contains NaN or infinite values (1 of 2); ...
    """
    for name, tensor in tensors.items():
        if not all_finite(tensor):
            bad = int((~np.isfinite(tensor.astype(np.float32))).sum())
            raise InputError(
                f"{where}: {name} contains NaN or infinite values ({bad} of {tensor.size}); such a network has "
                "no valid result"
            )


def all_finite(array: np.ndarray) -> bool:
    """Whether all values are finite. If they are, this takes one pass and no array of flags."""
    if array.dtype.kind == "V":  # types of ml_dtypes, such as bfloat16
        array = array.astype(np.float32)
    with np.errstate(over="ignore", invalid="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def check_shapes(expected: Mapping[Any, tuple[int, ...]], tensors: Mapping[Any, Any], where: str) -> None:
    """Like `check_tensors`, for expected shapes by names of any kind."""
    if problems := listed(differences(expected, tensors)):
        raise InputError(f"{where}: the tensors do not match the config; {'; '.join(problems)}")


def differences(expected: Mapping[Any, tuple[int, ...]], tensors: Mapping[Any, Any]) -> dict[str, list[str]]:
    """The names of tensors that are missing, extra or of another shape. Parts of a path are joined by dots."""

    def text(name: Any) -> str:
        return ".".join(name) if isinstance(name, tuple) else name

    return {
        "missing": [text(name) for name in expected if name not in tensors],
        "not part of this network": [text(name) for name in tensors if name not in expected],
        "with another shape": [
            f"{text(name)} {tuple(tensors[name].shape)}, not {shape}"
            for name, shape in expected.items()
            if name in tensors and tuple(tensors[name].shape) != shape
        ],
    }


def listed(problems: Mapping[str, list[str]]) -> list[str]:
    """One text for each kind of problem that occurs, with the first few names."""
    count = 3 if sum(map(bool, problems.values())) == 1 else 1
    return [f"{len(names)} {what}: {first_few(names, count)}" for what, names in problems.items() if names]


def first_few(names: Iterable[str], count: int = 3) -> str:
    """The first names, each shortened to 120 characters, and the number of further ones.

    Example:
        >>> first_few("abcde")
        'a, b, c and 2 more'
    """
    names = list(names)
    more = f" and {len(names) - count} more" if len(names) > count else ""
    return ", ".join(one_line(name, 120) for name in names[:count]) + more
