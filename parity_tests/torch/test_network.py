"""Networks in PyTorch: one graph for the compiler, autocast, memory layouts, torch.export, a plain training loop."""

from __future__ import annotations

import pytest
import torch

import unet_torch
from unet_data.metrics.confusion import confusion, iou
from unet_spec import Checkpoint, preset, random_tensors
from unet_torch.losses import cross_entropy, dice_loss

from ..battery.cases import CASES, one_of_each

CONFIG = preset("same", widths=(3, 4), in_channels=2)
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


@pytest.mark.parametrize("name", cases())
@pytest.mark.parametrize("train", [False, True])
def test_compile_breaks_no_graph(name, train):
    model, image = network(name, train)
    torch.compiler.reset()
    explained = torch._dynamo.explain(model)(image)
    assert (explained.graph_count, explained.graph_break_count) == (1, 0), explained.break_reasons


@pytest.mark.parametrize("name", cases(("same",)))
def test_autocast_forward_and_backward(name):
    model, image = network(name)
    exact = model(image)
    with torch.autocast("cpu", torch.bfloat16):
        logits = model(image)
        loss = logits.float().square().mean()
    loss.backward()
    spread = exact.detach().std()
    assert (logits.float() - exact).detach().abs().mean() < 0.1 * spread  # bfloat16 keeps 8 bits
    for parameter in model.parameters():
        assert parameter.dtype == torch.float32
        assert parameter.grad is None or torch.isfinite(parameter.grad).all()
    assert any(parameter.grad is not None for parameter in model.parameters())


@pytest.mark.parametrize("name", cases())
def test_channels_last_is_the_same_network(name):
    model, image = network(name)
    layout = torch.channels_last if image.dim() == 4 else torch.channels_last_3d
    with torch.no_grad():
        exact = model.double()(image.double())
        logits = model.to(memory_format=layout)(image.double().to(memory_format=layout))
    assert (logits - exact).abs().max() <= 1e-12 * exact.abs().max()


@pytest.mark.parametrize("name", cases(("same",)))
def test_torch_export_round_trip(name, tmp_path):
    model, image = network(name)
    program = torch.export.export(model, (image,))
    torch.export.save(program, tmp_path / "model.pt2")
    with torch.no_grad():
        logits = torch.export.load(tmp_path / "model.pt2").module()(image)
        assert (logits - model(image)).abs().max() <= 1e-5 * logits.abs().max()


def test_losses_and_metrics_in_a_plain_loop():
    model = unet_torch.UNet(preset("same", widths=(4, 6)), seed=0)
    image = torch.randn(2, 1, 16, 16, generator=torch.Generator().manual_seed(0))
    labels = (image[:, 0] > 0).long()
    optimizer = torch.optim.Adam(model.parameters(), 1e-2)
    scores = []
    for _ in range(25):
        logits = model(image)
        loss = cross_entropy(logits, labels) + dice_loss(logits, labels)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        scores.append(iou(confusion(logits.argmax(1).numpy(), labels.numpy(), 2)).mean)
    assert scores[-1] > 0.8 > scores[0]
