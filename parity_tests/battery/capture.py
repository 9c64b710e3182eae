"""Records inputs and outputs of every module of a network by the module's path, in either framework.

Works on any nnx.Module and any torch.nn.Module, without changing it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from flax import nnx


@dataclass
class Call:
    """One call of one module: its path such as "encoder.0.conv1" (with "#2" for a second call), arguments, output."""

    path: str
    args: tuple
    kwargs: dict[str, Any]
    output: Any


class _Log:
    """Calls in the order in which they end. A call through `super()` does not count again."""

    def __init__(self) -> None:
        self.calls: dict[str, Call] = {}
        self.open: set[int] = set()

    def add(self, path: str, args: tuple, kwargs: dict[str, Any], output: Any) -> None:
        count = sum(known.split("#")[0] == path for known in self.calls)
        name = f"{path}#{count + 1}" if count else path
        self.calls[name] = Call(name, args, kwargs, output)


def nnx_modules(model: nnx.Module) -> dict[str, nnx.Module]:
    """Every module of `model` by its dotted path; the model itself is ""."""
    return {".".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)}


@contextmanager
def nnx_calls(model: nnx.Module) -> Iterator[dict[str, Call]]:
    """Within the block, the calls of the modules of `model`, which may itself be traced (jit, grad).

    Python looks up `__call__` in the class, so the method of the class is wrapped within the block. Under a
    transformation, the recorded values are tracers; return them from the transformed function.
    """
    log = _Log()
    names = {id(module): path for path, module in nnx_modules(model).items()}
    classes = {type(module) for module in nnx_modules(model).values() if callable(module)}
    own = {cls: cls.__dict__.get("__call__") for cls in classes}

    def wrapped(original: Callable) -> Callable:
        def call(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            if id(self) not in names or id(self) in log.open:
                return original(self, *args, **kwargs)
            log.open.add(id(self))
            try:
                output = original(self, *args, **kwargs)
            finally:
                log.open.discard(id(self))
            log.add(names[id(self)], args, kwargs, output)
            return output

        return call

    originals = {cls: cls.__call__ for cls in classes}
    try:
        for cls, original in originals.items():
            cls.__call__ = wrapped(original)
        yield log.calls
    finally:
        for cls, original in own.items():
            if original is None:
                del cls.__call__
            else:
                cls.__call__ = original


@contextmanager
def torch_calls(model: torch.nn.Module) -> Iterator[dict[str, Call]]:
    """Within the block, the calls of the modules of `model`."""
    log = _Log()

    def hook(path: str) -> Callable:
        return lambda module, args, kwargs, output: log.add(path, args, kwargs, output)

    handles = [m.register_forward_hook(hook(path), with_kwargs=True) for path, m in model.named_modules()]
    try:
        yield log.calls
    finally:
        for handle in handles:
            handle.remove()
