"""Every public name is documented: its arguments, and an example, which `test_doctests` runs."""

import importlib
import inspect

import pytest

PACKAGES = ("unet_spec", "unet_data", "unet_export")
NAMES = [(package, name) for package in PACKAGES for name in importlib.import_module(package).__all__]


@pytest.mark.parametrize(("package", "name"), NAMES, ids=map(".".join, NAMES))
def test_a_public_name_shows_its_arguments_and_an_example(package, name):
    public = getattr(importlib.import_module(package), name)
    if not (inspect.isclass(public) or inspect.isroutine(public)):
        return  # a constant: its text stands below it in the source
    text = public.__doc__ or ""
    assert "Example:" in text
    assert ">>>" in text
    if inspect.isroutine(public) and inspect.signature(public).parameters:
        assert "Args:" in text
