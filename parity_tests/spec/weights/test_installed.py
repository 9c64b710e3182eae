"""Networks by name: what is looked up, what is refused, and what goes before."""

import pytest

from parity_tests.weights_package import install
from unet_spec import Checkpoint, InputError, find_network, installed_networks, preset, random_tensors
from unet_spec.weights.hub import find_folder

CONFIG = preset("same", widths=(2, 3))


@pytest.fixture
def checkpoint():
    return Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0))


@pytest.fixture
def package(tmp_path, monkeypatch, checkpoint):
    """The folder of an installed package with the networks nuclei and other-cells; the working folder is empty."""
    folder = install(tmp_path / "site", {"nuclei": checkpoint, "other-cells": checkpoint})
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return folder


def test_a_name_is_the_folder_of_the_package(package, checkpoint):
    assert find_network("nuclei") == package / "nuclei"
    assert find_folder("other-cells") == package / "other_cells"
    assert Checkpoint.load(find_network("nuclei")).digest() == checkpoint.digest()
    assert installed_networks() == {"nuclei": "tiny-weights 1.2", "other-cells": "tiny-weights 1.2"}


@pytest.mark.parametrize("source", ["runs/nuclei", "nuclei.onnx", "./nuclei", "nuclei/", "..", "."])
def test_a_path_is_no_name(package, source):
    assert str(find_network(source)) == str(type(package)(source)) or source in ("./nuclei", "nuclei/")
    assert not find_network(source).is_absolute()


def test_an_unknown_name_is_one_line_with_the_known_ones(package):
    with pytest.raises(InputError) as caught:
        find_network("nuclai")
    assert str(caught.value) == (
        "no checkpoint at nuclai: no such folder, and no installed network of this name; installed: nuclei, other-cells"
        "; did you mean 'nuclei'?; pip install unet-weights installs nuclei and membranes"
    )


def test_without_a_package_the_line_says_how_to_get_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("unet_spec.weights.installed.entry_points", lambda **_: ())
    with pytest.raises(
        InputError, match=r"no network is installed; pip install unet-weights installs nuclei and membranes$"
    ):
        find_folder("nuclei")


@pytest.mark.parametrize("kind", ["folder", "file", "broken link"])
def test_what_exists_here_goes_before_and_one_line_says_so(package, tmp_path, kind):
    here = tmp_path / "here" / "nuclei"
    here.mkdir() if kind == "folder" else here.touch() if kind == "file" else here.symlink_to("nowhere")
    with pytest.warns(UserWarning, match="^the nuclei in this folder is used, not the network nuclei of tiny-weights"):
        assert str(find_network("nuclei")) == "nuclei"


def test_two_packages_with_one_name_are_refused(package, tmp_path, checkpoint):
    install(tmp_path / "site", {"nuclei": checkpoint}, "second-weights")
    with pytest.raises(InputError, match=r"nuclei is in several packages: (tiny|second)-weights 1.2, .*uninstall all"):
        find_network("nuclei")
    assert find_network("other-cells") == package / "other_cells"


def flip_a_bit(package):
    file = package / "nuclei" / "model.safetensors"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1  # within the last tensor: still a readable file, of other numbers
    file.write_bytes(content)


DAMAGES = {
    "a bit": (flip_a_bit, "model.safetensors differs from the file that was installed"),
    "a file": (lambda package: (package / "nuclei" / "config.json").unlink(), "no checkpoint at "),
    "an entry": (
        lambda package: next(package.parent.glob("*.dist-info/entry_points.txt")).write_text(
            "[unet_twins.weights]\nnuclei = : no ! reference\n"
        ),
        "no checkpoint at : no ! reference",
    ),
    "the package": (lambda package: package.rename(package.with_name("gone")), "no checkpoint at tiny_weights:nuclei"),
}


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_damaged_package_is_refused_with_the_command_that_repairs_it(package, damage):
    spoil, said = DAMAGES[damage]
    spoil(package)
    with pytest.raises(InputError) as caught:
        find_network("nuclei")
    line = str(caught.value)
    assert line.startswith("the network nuclei of tiny-weights 1.2 is damaged: ")
    assert said in line
    assert line.endswith("install it again: pip install --force-reinstall tiny-weights")


def test_a_revision_is_of_the_hub_only(package):
    with pytest.raises(InputError, match="revision 'main' is for a repository of the hub"):
        find_folder("nuclei", "main")
