"""The wheel and the source distribution: reproducible bytes, and their use by pip and setuptools."""

from __future__ import annotations

import os
import subprocess
import sys
import tarfile
import zipfile
from email import message_from_string

import numpy as np
import pytest
from setuptools import Distribution
from setuptools.config.pyprojecttoml import apply_configuration

from tools.weights.wheels import Package, write_sdist, write_wheel
from unet_data import write_stack
from unet_spec import Checkpoint, DataSpec, find_network, installed_networks, preset, random_tensors
from unet_tools.cli import main

CONFIG = preset("paper", widths=(2, 3), dropout=0.0)
CHECKPOINT = Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0), DataSpec((0.5,), (0.2,), ("ground", "nucleus")))


@pytest.fixture
def package(tmp_path):
    CHECKPOINT.save(tmp_path / "ck", {"README.md": "# a card\n"})
    files = {file.name: file.read_bytes() for file in (tmp_path / "ck").iterdir()}
    return Package("0.3.1", "Apache-2.0", "the text\n", "# readme\n", {"nuclei": files, "membranes": files})


def test_the_same_files_give_the_same_bytes(package, tmp_path):
    for write in (write_wheel, write_sdist):
        first, second = write(package, tmp_path / "a"), write(package, tmp_path / "b")
        assert first.name == second.name
        assert first.read_bytes() == second.read_bytes()


@pytest.mark.slow
def test_pip_installs_the_wheel_and_its_networks_have_names(package, tmp_path, monkeypatch):
    pytest.importorskip("pip")
    wheel, site = write_wheel(package, tmp_path), tmp_path / "site"
    assert wheel.name == "unet_weights-0.3.1-py3-none-any.whl"
    flags = ["--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile"]
    command = [sys.executable, "-m", "pip", "install", "-q", *flags, "--target", str(site), str(wheel)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    monkeypatch.syspath_prepend(str(site))
    monkeypatch.chdir(tmp_path)
    assert installed_networks() == {"membranes": "unet-weights 0.3.1", "nuclei": "unet-weights 0.3.1"}
    for name in ("nuclei", "membranes"):
        assert Checkpoint.load(find_network(name)).digest() == CHECKPOINT.digest()
        assert find_network(name).joinpath("README.md").read_text() == "# a card\n"
    write_stack(tmp_path / "image.png", np.random.default_rng(0).integers(0, 255, (1, 41, 37, 1), dtype=np.uint8))
    flags = ["--output", "probabilities"]
    shell = [sys.executable, "-m", "unet_tools.cli", "predict", "nuclei", "image.png", "-o", "name.npy", *flags]
    path = os.pathsep.join([str(site), *sys.path])
    done = subprocess.run(shell, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": path})
    assert done.returncode == 0, done.stderr
    assert main(["predict", str(tmp_path / "ck"), "image.png", "-o", "folder.npy", *flags]) == 0
    assert np.array_equal(np.load("name.npy"), np.load("folder.npy"))


def test_the_metadata_say_what_it_is(package, tmp_path):
    with zipfile.ZipFile(write_wheel(package, tmp_path)) as archive:
        assert archive.testzip() is None
        info = "unet_weights-0.3.1.dist-info"
        metadata = message_from_string(archive.read(f"{info}/METADATA").decode())
        assert archive.read(f"{info}/licenses/LICENSE") == b"the text\n"
        recorded = {line.split(",")[0] for line in archive.read(f"{info}/RECORD").decode().splitlines()}
        assert recorded == set(archive.namelist())
    assert (metadata["Name"], metadata["Version"], metadata["License-Expression"]) == (
        "unet-weights",
        "0.3.1",
        "Apache-2.0",
    )
    assert metadata["Summary"] == "Networks to start with, for unet-twins: membranes, nuclei."
    assert metadata.get_payload() == "# readme\n"


def test_setuptools_reads_the_source_distribution_as_the_same_package(package, tmp_path, monkeypatch):
    with tarfile.open(write_sdist(package, tmp_path)) as archive:
        archive.extractall(tmp_path, filter="data")
    folder = tmp_path / "unet_weights-0.3.1"
    monkeypatch.chdir(folder)
    found = apply_configuration(Distribution(), str(folder / "pyproject.toml"))
    assert (found.get_name(), found.get_version(), found.packages) == ("unet-weights", "0.3.1", ["unet_weights"])
    assert found.entry_points["unet_twins.weights"] == [f"{n} = unet_weights:{n}" for n in ("membranes", "nuclei")]
    assert found.package_data["unet_weights"] == ["*/*"]
    for name, content in package.files.items():
        assert (folder / name).read_bytes() == content
