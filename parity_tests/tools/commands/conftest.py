"""A checkpoint and its bundle, written once, and copies that tests may change."""

import shutil

import pytest


@pytest.fixture(scope="session")
def written(tmp_path_factory):
    """Tests read it only."""
    from unet_export import BundleSettings, write_bundle

    from .refusals import point

    folder = tmp_path_factory.mktemp("refusals")
    point().save(folder / "checkpoint")
    write_bundle(point(), folder / "bundle", BundleSettings(("fp16",), engines=False))
    return folder


@pytest.fixture
def work(written, tmp_path):
    shutil.copytree(written / "bundle", tmp_path / "bundle")
    shutil.copytree(written / "checkpoint", tmp_path / "checkpoint")
    return tmp_path
