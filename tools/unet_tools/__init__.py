"""The `unet` command and its parts."""

__all__ = ["compare_modules"]


def __getattr__(name: str) -> object:
    """What `__init__.pyi` lists. Not by unet_spec.door, whose imports take longer than the answer to `unet --help`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from . import diff

    return getattr(diff, name)


def __dir__() -> list[str]:
    return __all__
