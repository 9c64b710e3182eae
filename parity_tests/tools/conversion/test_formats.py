"""Checkpoints in documented layouts of other projects, converted and run in every runtime."""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

import unet_jax
import unet_torch
from unet_export import OnnxRuntime, emit_onnx, onnx_bytes
from unet_jax.runtime import JaxRuntime
from unet_spec import Checkpoint, InputError, preset, sources
from unet_spec.sources import Origin
from unet_tools.cli import main
from unet_tools.conversion.formats import read
from unet_torch.runtime import TorchRuntime

from ...fixtures.sources import draw

EXACT, SINGLE = 1e-12, 1e-5


def double_conv(channels_in, middle, out):
    layers = []
    for a, b in ((channels_in, middle), (middle, out)):
        layers += [nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU()]
    block = nn.Module()
    block.double_conv = nn.Sequential(*layers)
    block.forward = block.double_conv.forward
    return block


class Milesial(nn.Module):
    """The layout that its README and state_dict document: inc, down1 … down4, up1 … up4, outc."""

    def __init__(self, channels, classes, width, bilinear):
        super().__init__()
        factor = 2 if bilinear else 1
        w = [width * 2**i for i in range(5)]
        w[4] //= factor
        self.inc = double_conv(channels, w[0], w[0])
        for i in range(1, 5):
            down = nn.Module()
            down.maxpool_conv = nn.Sequential(nn.MaxPool2d(2), double_conv(w[i - 1], w[i], w[i]))
            self.add_module(f"down{i}", down)
        for i in range(1, 5):
            up, skip = nn.Module(), width * 2 ** (4 - i)
            out = skip // factor if i < 4 else skip
            up.up = nn.Upsample(scale_factor=2, mode="bilinear", align_corners=True)
            if not bilinear:
                up.up = nn.ConvTranspose2d(2 * skip, skip, 2, 2)
            up.conv = double_conv(2 * skip, skip if bilinear else out, out)
            self.add_module(f"up{i}", up)
        self.outc = nn.Module()
        self.outc.conv = nn.Conv2d(width, classes, 1)

    def forward(self, x):
        maps = [self.inc(x)]
        for i in range(1, 5):
            maps.append(getattr(self, f"down{i}").maxpool_conv(maps[-1]))
        x = maps.pop()
        for i in range(1, 5):
            up = getattr(self, f"up{i}")
            x = up.conv(torch.cat([maps.pop(), up.up(x)], 1))
        return self.outc.conv(x)


class Brain(nn.Module):
    """The layout of its state_dict: encoder1.enc1conv1 …, bottleneck, upconv4, decoder4.dec4conv1 …, conv."""

    def __init__(self, channels, classes, width):
        super().__init__()
        w = [width * 2**i for i in range(5)]
        for i, (a, b) in enumerate(zip([channels, *w], w, strict=False), start=1):
            self.add_module(
                f"encoder{i}" if i < 5 else "bottleneck", self.block(a, b, f"enc{i}" if i < 5 else "bottleneck")
            )
        for i in (4, 3, 2, 1):
            self.add_module(f"upconv{i}", nn.ConvTranspose2d(w[i], w[i - 1], 2, 2))
            self.add_module(f"decoder{i}", self.block(2 * w[i - 1], w[i - 1], f"dec{i}"))
        self.conv = nn.Conv2d(width, classes, 1)

    @staticmethod
    def block(a, b, name):
        return nn.Sequential(OrderedDict([
            (f"{name}conv1", nn.Conv2d(a, b, 3, padding=1, bias=False)), (f"{name}norm1", nn.BatchNorm2d(b)),
            (f"{name}relu1", nn.ReLU()),
            (f"{name}conv2", nn.Conv2d(b, b, 3, padding=1, bias=False)), (f"{name}norm2", nn.BatchNorm2d(b)),
            (f"{name}relu2", nn.ReLU()),
        ]))  # fmt: skip

    def forward(self, x):
        skips = []
        for i in (1, 2, 3, 4):
            x = getattr(self, f"encoder{i}")(x)
            skips.append(x)
            x = F.max_pool2d(x, 2)
        x = self.bottleneck(x)
        for i in (4, 3, 2, 1):
            x = torch.cat([getattr(self, f"upconv{i}")(x), skips.pop()], 1)
            x = getattr(self, f"decoder{i}")(x)
        return torch.sigmoid(self.conv(x))


NETWORKS = {
    "milesial": lambda: Milesial(3, 2, 4, bilinear=False),
    "milesial-bilinear": lambda: Milesial(1, 2, 4, bilinear=True),
    "brain-segmentation": lambda: Brain(3, 1, 4),
}


def randomised(name):
    """The network in evaluation mode, and its state_dict with random tensors."""
    network = NETWORKS[name]().eval()
    drawn = draw.tensors([(key, tuple(t.shape)) for key, t in network.state_dict().items()])
    state = {key: torch.from_numpy(np.asarray(t)) for key, t in drawn.items()}
    network.load_state_dict(state)
    return network, state


@pytest.mark.parametrize("name", NETWORKS)
def test_a_documented_layout(name, tmp_path):
    network, state = randomised(name)
    beside = {"mask_values": [0, 255]} if "milesial" in name else {}
    torch.save(dict(network.state_dict()) | beside, tmp_path / "w.pth")
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "ours")]) == 0
    ours = Checkpoint.load(tmp_path / "ours")
    x = draw.image(ours.config.in_channels, (32, 48)).astype(np.float64)
    with torch.no_grad():
        wanted = network.double()(torch.from_numpy(np.moveaxis(x, -1, 1).copy())).numpy()
    found = ours.config.graph.forward({key: t.astype(np.float64) for key, t in ours.tensors.items()}, x)
    if name == "brain-segmentation":
        found = 1 / (1 + np.exp(-found))
    assert np.abs(np.moveaxis(found, -1, 1) - wanted).max() < EXACT * np.abs(wanted).max()

    origin = Origin.load(tmp_path / "ours")
    assert origin is not None
    assert origin.source == name.removesuffix("-bilinear")
    assert main(["convert", str(tmp_path / "ours"), str(tmp_path / "back.pth"), "--to", origin.source]) == 0
    back = torch.load(tmp_path / "back.pth", weights_only=True)
    assert back.pop("mask_values", None) == beside.get("mask_values")
    assert set(back) == set(state)
    assert all(back[key].dtype == state[key].dtype and torch.equal(back[key], state[key]) for key in state)
    NETWORKS[name]().load_state_dict(back)


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_a_documented_layout_in_every_runtime(name):
    network, state = randomised(name)
    source = name.removesuffix("-bilinear")
    found = sources.import_tensors(source, {key: t.numpy() for key, t in state.items()}, {}, name)
    narrow = Checkpoint(found.config, found.tensors)
    wide = Checkpoint(found.config, {key: t.astype(np.float64) for key, t in found.tensors.items()})
    x = draw.image(found.config.in_channels, (32, 48))
    model = onnx_bytes(emit_onnx(narrow.config, narrow.tensors))
    runs = {
        np.float64: [
            JaxRuntime(unet_jax.from_checkpoint(wide)).run,
            TorchRuntime(unet_torch.from_checkpoint(wide)).run,
        ],
        np.float32: [
            JaxRuntime(unet_jax.from_checkpoint(narrow)).run,
            TorchRuntime(unet_torch.from_checkpoint(narrow)).run,
            OnnxRuntime(model).run,
        ],
    }
    for dtype, every in runs.items():
        network.to(torch.from_numpy(np.zeros(0, dtype)).dtype)
        with torch.no_grad():
            wanted = network(torch.from_numpy(np.moveaxis(x, -1, 1).astype(dtype))).numpy()
        for run in every:
            logits = np.moveaxis(run(x.astype(dtype)), -1, 1)
            output = 1 / (1 + np.exp(-logits)) if source == "brain-segmentation" else logits
            assert np.abs(output - wanted).max() < (EXACT if dtype == np.float64 else SINGLE) * np.abs(wanted).max()


def test_a_folder_of_orbax_is_known_by_its_files_or_by_its_name(tmp_path, monkeypatch):
    orbax = pytest.importorskip("unet_jax.interop.orbax", reason="pip install 'unet-twins[jax]'")
    monkeypatch.setattr(orbax, "load_orbax", lambda path, base: ("loaded", path, base))
    base = preset("same", widths=(2, 3))
    for name, files in (("a", ["x/_METADATA"]), ("b", ["x/_METADATA", "config.json"])):
        for file in files:
            (tmp_path / name / file).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name / file).touch()
    assert read(tmp_path / "a", None, base).checkpoint == ("loaded", tmp_path / "a", base)
    assert read(tmp_path / "b", "orbax", base).form == "orbax"  # as it is said to be
    with pytest.raises(InputError):  # one of ours, by its config.json
        read(tmp_path / "b", None, base)
    (tmp_path / "a" / orbax.CONFIG).mkdir()
    assert read(tmp_path / "a", None, base).checkpoint == ("loaded", tmp_path / "a", None)  # it says its network
