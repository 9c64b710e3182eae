"""Wraps every call of every module of a network, in either framework, without changes to the network's code.

    def handler(path, function, args, kwargs):     # `function` is the module's own method
        output = function(*args, **kwargs)
        ...                                        # inspect, count, store, replace
        return output

    with around_torch(model, handler) as modules: model(x)      # modules: path to module
    with around_nnx(model, handler) as modules: model(x)

`path` is dotted, such as "encoder.0.conv1"; the network itself is "". A handler may return another value without
calling `function`. It is not safe if other threads run modules of the same classes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from flax import nnx
    from torch import nn

Handler = Callable[[str, Callable[..., Any], tuple[Any, ...], dict[str, Any]], Any]


def nnx_modules(model: nnx.Module) -> dict[str, nnx.Module]:
    """Every module by its dotted path, the model itself as "". A shared module has one path."""
    from flax import nnx

    return {".".join(map(str, path)): node for path, node in nnx.iter_graph(model) if isinstance(node, nnx.Module)}


@contextmanager
def around_torch(model: nn.Module, handler: Handler) -> Iterator[dict[str, nn.Module]]:
    """Within the block, calls of the modules of `model` go through `handler`. Existing hooks stay."""
    own: dict[nn.Module, Any] = {}  # `forward` methods that were already set on the instance

    def wrapped(path: str, original: Callable[..., Any]) -> Callable[..., Any]:
        return lambda *args, **kwargs: handler(path, original, args, kwargs)

    modules = dict(model.named_modules())
    try:
        for path, module in modules.items():
            original, own[module] = module.forward, module.__dict__.get("forward")
            module.forward = wrapped(path, original)
        yield modules
    finally:
        for module, forward in own.items():
            if forward is None:
                module.__dict__.pop("forward", None)
            else:
                module.forward = forward


@contextmanager
def around_nnx(model: nnx.Module, handler: Handler) -> Iterator[dict[str, nnx.Module]]:
    """Within the block, calls of the modules of `model` go through `handler`.

    Python looks up `__call__` in the class, so the method of the class is wrapped within the block. Objects that are
    not part of `model` are not affected. This includes the copies of modules that `nnx.jit` makes: calls inside a
    jitted function belong to the module that owns the function.
    """
    modules = {path: module for path, module in nnx_modules(model).items() if callable(module)}
    paths = {id(module): path for path, module in modules.items()}
    classes = {type(module) for module in modules.values()}
    running: set[int] = set()  # `super().__call__` belongs to the same call

    def wrapped(original: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: nnx.Module, *args: Any, **kwargs: Any) -> Any:
            if id(self) not in paths or id(self) in running:
                return original(self, *args, **kwargs)

            def function(*args: Any, **kwargs: Any) -> Any:
                running.add(id(self))
                try:
                    return original(self, *args, **kwargs)
                finally:
                    running.discard(id(self))

            return handler(paths[id(self)], function, args, kwargs)

        return call

    own = {cls: cls.__dict__.get("__call__") for cls in classes}
    originals = {cls: cls.__call__ for cls in classes}
    try:
        for cls, original in originals.items():
            cls.__call__ = wrapped(original)
        yield modules
    finally:
        for cls, original in own.items():
            if original is not None:
                cls.__call__ = original
            elif "__call__" in cls.__dict__:
                del cls.__call__
