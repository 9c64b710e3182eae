"""The `unet` command and its parts."""

__all__ = ["compare_modules"]


def __getattr__(name: str) -> object:
    """Imports the names in `__init__.pyi` at first use. It does not use unet_spec.door, whose imports take longer than
    `unet --help`."""
    if name not in __all__:
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from . import diff

    return getattr(diff, name)


def __dir__() -> list[str]:
    return __all__
