"""A name at the door that needs a package which is not installed."""

import sys
import types

import pytest

from unet_spec import InputError
from unet_spec.door import attach


@pytest.fixture
def package(tmp_path, monkeypatch):
    """A package whose door offers `run` of `inner`; returns a function that sets what `inner` is."""
    monkeypatch.syspath_prepend(str(tmp_path))
    folder = tmp_path / "a_house"
    folder.mkdir()
    (folder / "__init__.py").write_text("")
    (folder / "__init__.pyi").write_text("from .inner import run as run\n")

    def with_inner(text):
        (folder / "inner.py").write_text(text)
        return attach("a_house", str(folder / "__init__.py"))

    yield with_inner
    for name in [name for name in sys.modules if name.partition(".")[0] == "a_house"]:
        del sys.modules[name]


def test_a_name_is_imported_when_it_is_first_used(package):
    get, listing, names = package("def run():\n    return 7\n")
    assert names == listing() == ["run"]
    assert "a_house.inner" not in sys.modules
    assert get("run")() == 7
    with pytest.raises(AttributeError):
        get("walk")


def test_a_package_of_an_extra_is_named_with_its_command(package, monkeypatch):
    monkeypatch.setitem(sys.modules, "MNN", None)  # an import of it fails
    get, _, _ = package("import MNN\n\ndef run(): ...\n")
    with pytest.raises(InputError, match=r"run needs MNN; pip install 'unet-twins\[mnn\]'"):
        get("run")


def test_another_package_that_is_missing_is_no_extra(package):
    get, _, _ = package("import no_such_package_anywhere\n\ndef run(): ...\n")
    with pytest.raises(ModuleNotFoundError, match="no_such_package_anywhere"):
        get("run")
    assert isinstance(sys.modules["a_house"], types.ModuleType)
