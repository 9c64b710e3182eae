"""Bundles for several tests, written once."""

import shutil

import pytest

from unet_spec import PRESETS, Checkpoint, DataSpec, random_tensors


@pytest.fixture(scope="session")
def bundle(tmp_path_factory):
    """The manifest of the bundle of a narrow "paper". Tests read it only."""
    from unet_export import BundleSettings, write_bundle

    config = PRESETS["paper"].replace(widths=(4, 8))
    point = Checkpoint(config, random_tensors(config.graph, 2), DataSpec((0.5,), (0.2,)))
    return write_bundle(point, tmp_path_factory.mktemp("bundle") / "bundle", BundleSettings(engines=False))


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """The folder of a bundle with two channels and three named classes. Tests read it only."""
    from unet_export import BundleSettings, write_bundle

    from .bundles import checkpoint

    folder = tmp_path_factory.mktemp("written") / "b"
    write_bundle(checkpoint(), folder, BundleSettings(engines=False))
    return folder


@pytest.fixture
def copy(written, tmp_path):
    """A copy of the same folder, which tests may change."""
    return shutil.copytree(written, tmp_path / "copy")
