"""To the Hugging Face hub and back, with a folder for a server."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import unet_jax
import unet_torch
from unet_spec import Checkpoint, InputError, preset, random_tensors

CONFIG = preset("same", widths=(3, 4), in_channels=2)


@pytest.fixture
def model():
    return unet_torch.from_checkpoint(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)))


def same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


class FakeHub:
    """huggingface_hub with a folder for a server."""

    def __init__(self, server: Path):
        self.server, self.calls = server, []

    def snapshot_download(self, repo_id, revision=None, allow_patterns=None):
        self.calls.append((repo_id, revision, tuple(allow_patterns)))
        if not (self.server / repo_id).is_dir():
            raise OSError(f"404: {repo_id}\nand much more")
        return str(self.server / repo_id)

    def HfApi(self, token=None):
        return self

    def create_repo(self, repo_id, private=False, exist_ok=False):
        assert exist_ok
        (self.server / repo_id).mkdir(parents=True)

    def create_branch(self, repo_id, branch, exist_ok=False):
        self.calls.append((repo_id, branch))

    def upload_folder(self, repo_id, folder_path, revision, commit_message, allow_patterns):
        for path in Path(folder_path).iterdir():
            (self.server / repo_id / path.name).write_bytes(path.read_bytes())
        return SimpleNamespace(commit_url=f"hub/{repo_id}/commit/1")


def test_the_stand_in_has_the_hubs_signatures():
    hub = pytest.importorskip("huggingface_hub", reason="huggingface_hub is not installed")
    for name in ("snapshot_download", "create_repo", "create_branch", "upload_folder"):
        own = list(inspect.signature(getattr(FakeHub, name)).parameters)[1:]
        theirs = inspect.signature(getattr(hub.HfApi, name)).parameters
        assert set(own) <= set(theirs), name
        assert list(theirs)[1] == "repo_id" == own[0]  # the one that is given by its place


def test_to_the_hub_and_back(model, tmp_path, monkeypatch):
    hub = FakeHub(tmp_path / "server")
    monkeypatch.setitem(sys.modules, "huggingface_hub", hub)
    monkeypatch.chdir(tmp_path)
    assert model.push_to_hub("me/cells", licence="mit", revision="v1") == "hub/me/cells/commit/1"
    assert sorted(p.name for p in (tmp_path / "server/me/cells").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]
    same(unet_torch.from_pretrained("me/cells", revision="abc123"), model)
    assert hub.calls[-1] == ("me/cells", "abc123", ("*.json", "*.safetensors", "*.md"))
    again = unet_jax.tensors(unet_jax.from_pretrained("me/cells"))
    assert all(np.array_equal(again[name], tensor.numpy()) for name, tensor in model.state_dict().items())
    with pytest.raises(InputError, match=r"the hub did not send me/none \(404: me/none\)"):
        unet_torch.from_pretrained("me/none")
    with pytest.raises(InputError, match="not a repository of the hub"):
        model.push_to_hub("cells")


def test_a_folder_needs_no_hub_and_a_hub_needs_its_package(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)  # an import of it fails
    monkeypatch.chdir(tmp_path)
    model.save_pretrained("runs/best")
    same(unet_torch.UNet.from_pretrained("runs/best"), model)
    with pytest.raises(InputError, match=r"pip install 'unet-twins\[hub\]'"):
        unet_torch.from_pretrained("runs/last")
    with pytest.raises(InputError, match="no checkpoint at"):
        unet_torch.from_pretrained(Path("runs/last"))
    with pytest.raises(InputError, match="revision"):
        unet_torch.from_pretrained("runs/best", revision="main")
