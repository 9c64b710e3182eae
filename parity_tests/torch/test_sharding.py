"""Fully sharded training: every parameter belongs to one unit, and the gradients equal those of one device."""

from __future__ import annotations

import pytest
import torch

import unet_torch
from unet_spec import Checkpoint, preset, random_tensors
from unet_torch.sharding import shard, sharding_units

from ..battery.cases import CASES, one_of_each

CONFIG = preset("same", widths=(3, 4), in_channels=2)
NARROW = [name for name, case in CASES.items() if case.tier != "full"]
DEFAULT = ("paper", "same")


def cases(default: tuple[str, ...] = DEFAULT) -> list:
    """Every preset of the U-Net and one of each architecture; networks that are not in `default` run only in CI."""
    return [pytest.param(n, marks=() if n in default else pytest.mark.slow) for n in one_of_each()]


def network(name: str, train: bool = False) -> tuple[unet_torch.Network, torch.Tensor]:
    config = CASES[name].config
    model = unet_torch.from_checkpoint(Checkpoint(config, random_tensors(config.graph, 0))).train(train)
    size = [grid.minimum + CASES[name].extra * grid.step for grid in config.geometry.grids]
    image = torch.randn(2, config.in_channels, *size, generator=torch.Generator().manual_seed(0))
    return model, image


@pytest.fixture
def model():
    return unet_torch.from_checkpoint(Checkpoint(CONFIG, random_tensors(CONFIG.graph, 0)))


def same(a: torch.nn.Module, b: torch.nn.Module) -> None:
    assert a.state_dict().keys() == b.state_dict().keys()
    for name, tensor in a.state_dict().items():
        assert torch.equal(tensor, b.state_dict()[name]), name


@pytest.mark.parametrize("name", NARROW)
def test_every_parameter_has_one_name_and_one_shard(name):
    with torch.device("meta"):
        model = unet_torch.create(CASES[name].config, None)
    every = [id(p) for _, p in model.named_parameters(remove_duplicate=False)]
    assert len(every) == len(set(every))
    in_units = [id(p) for unit in sharding_units(model) for p in unit.parameters()]
    assert len(in_units) == len(set(in_units))
    own = {id(p) for p in model.parameters(recurse=False)}
    assert set(in_units) | own == set(every)


@pytest.fixture(scope="module")
def one_process(tmp_path_factory):
    import torch.distributed as dist

    if not dist.is_available() or not dist.is_gloo_available():
        pytest.skip("this PyTorch has no gloo")
    store = dist.FileStore(str(tmp_path_factory.mktemp("dist") / "store"), 1)
    dist.init_process_group("gloo", store=store, rank=0, world_size=1)
    yield dist.init_device_mesh("cpu", (1,))
    dist.destroy_process_group()


@pytest.mark.parametrize("name", cases(("same",)))
@pytest.mark.filterwarnings("ignore")
def test_fully_sharded_training_is_the_same(name, one_process):
    model, image = network(name)
    other, _ = network(name)
    shard(other, mesh=one_process)
    assert list(other.state_dict()) == list(model.state_dict())
    for net in (model, other):
        net(image).square().mean().backward()
    for (key, a), b in zip(model.named_parameters(), other.parameters(), strict=True):
        if a.grad is not None:
            assert torch.allclose(a.grad, b.grad.full_tensor(), rtol=1e-4, atol=1e-6), key
