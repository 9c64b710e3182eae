"""Recipes that training programs apply to any nn.Module work with the networks."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn, update_bn

import unet_torch
from unet_spec import preset

CONFIG = preset("article", widths=(3, 4), conv_bias=False)
SHIFT = preset("multiresunet", widths=(4, 8))


@pytest.fixture
def model():
    return unet_torch.create(CONFIG, 0)


def batches(count: int = 3) -> list[torch.Tensor]:
    generator = torch.Generator().manual_seed(0)
    return [torch.randn(2, CONFIG.in_channels, 44, 44, generator=generator) + k for k in range(count)]


def norms(model: nn.Module) -> list[nn.BatchNorm2d]:
    return [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]


def test_batch_norms_are_pytorchs(model):
    assert len(norms(model)) == sum(key.endswith("running_mean") for key in model.state_dict())
    volume = unet_torch.create(CONFIG.replace(spatial_dims=3), 0)
    assert any(isinstance(m, nn.BatchNorm3d) for m in volume.modules())
    assert not norms(volume)


def test_the_counter_is_in_no_state_dict_and_a_stock_one_is_taken(model):
    assert not [key for key in model.state_dict() if "num_batches" in key]
    stock = model.state_dict() | {"encoder.0.norm1.num_batches_tracked": torch.tensor(7)}
    assert model.load_state_dict(stock) is not None


def test_frozen_norms_stay(model):
    """The usual recipe for a frozen encoder: no gradient, and norms in evaluation mode."""
    model.train()
    for parameter in model.encoder.parameters():
        parameter.requires_grad_(False)
    for module in model.encoder.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.eval()
    before = copy.deepcopy(model.state_dict())
    optimizer = torch.optim.SGD([p for p in model.parameters() if p.requires_grad], lr=0.1)
    model(batches()[0]).square().mean().backward()
    optimizer.step()
    moved = {key for key, t in model.state_dict().items() if not torch.equal(t, before[key])}
    assert moved
    assert not [key for key in moved if key.startswith("encoder.")]
    assert any("running_mean" in key for key in moved)


def test_update_bn_gives_the_mean_over_the_batches(model):
    """Compared with an independent average of each batch's statistics at the first norm."""
    norm, data = norms(model)[0], batches()
    with torch.no_grad():
        expected = torch.stack([model.encoder[0].conv1(x).mean((0, 2, 3)) for x in data]).mean(0)
    update_bn(data, model)
    torch.testing.assert_close(norm.running_mean, expected)
    assert norm.momentum == CONFIG.norm_momentum


def test_momentum_none_is_the_cumulative_average(model):
    norm = norms(model)[0]
    norm.reset_running_stats()
    norm.momentum = None
    norm.train()
    for k in (1.0, 3.0):
        norm(torch.full((2, norm.num_features, 2, 2), k))
    torch.testing.assert_close(norm.running_mean, torch.full((norm.num_features,), 2.0))


@pytest.mark.parametrize("kind", ["swa", "ema"])
def test_averaged_models(model, kind):
    first = copy.deepcopy(model.state_dict())
    options = {} if kind == "swa" else {"multi_avg_fn": get_ema_multi_avg_fn(0.5)}
    average = AveragedModel(model, use_buffers=True, **options)
    average.update_parameters(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(1)
    average.update_parameters(model)
    torch.testing.assert_close(average.module.head.weight, first["head.weight"] + 0.5)
    update_bn(batches(), average)


@pytest.mark.parametrize("config", [CONFIG, SHIFT], ids=["article", "without scale"])
def test_sync_batch_norm(config, tmp_path):
    model = unet_torch.create(config, 0)
    model.data = unet_torch.network.DataSpec((0.5,) * config.in_channels, (0.2,) * config.in_channels)
    converted = nn.SyncBatchNorm.convert_sync_batchnorm(copy.deepcopy(model)).eval()
    assert any(isinstance(m, nn.SyncBatchNorm) for m in converted.modules())
    x = torch.randn(1, config.in_channels, *(g.above(44) for g in config.geometry.grids))
    torch.testing.assert_close(converted(x), model.eval()(x), rtol=0, atol=0)
    converted.save_pretrained(tmp_path)
    torch.testing.assert_close(unet_torch.from_pretrained(tmp_path)(x), model(x), rtol=0, atol=0)


@pytest.mark.parametrize("config", [CONFIG, SHIFT], ids=["article", "without scale"])
def test_every_layer_with_weights_can_be_reset(config):
    model = unet_torch.create(config, 0)
    for tensor in model.state_dict().values():
        tensor.fill_(7)
    for module in model.modules():
        if list(module.parameters(recurse=False)):
            module.reset_parameters()
    assert not [key for key, t in model.state_dict().items() if (t == 7).all()]


def test_groups_without_weight_decay(model):
    """Groups by layer type and by number of axes are the same."""
    by_type = {id(p) for m in norms(model) for p in m.parameters()}
    by_type |= {
        id(m.bias) for m in model.modules() if isinstance(m, nn.Conv2d | nn.ConvTranspose2d) if m.bias is not None
    }
    assert by_type == {id(p) for p in model.parameters() if p.ndim <= 1}


def test_a_copy_on_no_device_gets_its_counter(model, tmp_path):
    """from_checkpoint builds the model without memory; the counter is not a tensor of the file."""
    model.data = unet_torch.network.DataSpec((0.5,), (0.2,))
    model.save_pretrained(tmp_path)
    loaded = unet_torch.from_pretrained(tmp_path).train()
    assert all(not b.is_meta for b in loaded.buffers())
    update_bn(batches(), loaded)
