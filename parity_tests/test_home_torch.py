"""PyTorch home: hubs, model cards, compile, autocast, layouts, export, sharding, and losses in a plain loop."""

from __future__ import annotations

import inspect
import json
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

import unet_jax
import unet_torch
from parity_tests.battery.cases import CASES, one_of_each
from unet_data.metrics import confusion, iou
from unet_spec import Checkpoint, InputError, preset, preset_names, random_tensors
from unet_torch.losses import cross_entropy, dice_loss
from unet_torch.sharding import shard, sharding_units

ROOT = Path(__file__).parent.parent
CONFIG = preset("same", widths=(3, 4), in_channels=2)
NARROW = [name for name, case in CASES.items() if not case.slow]
DEFAULT = ("paper", "same")


def cases(default: tuple[str, ...] = DEFAULT) -> list:
    """Every preset of the U-Net and one of each architecture; those that are not in `default` only in CI."""
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


def test_torch_hub_loads_presets_and_checkpoints(model, tmp_path):
    made = torch.hub.load(str(ROOT), "unet", preset="paper", widths=(2, 3), in_channels=3, source="local")
    assert isinstance(made, unet_torch.UNet)
    assert made.config == preset("paper", widths=(2, 3), in_channels=3)
    assert made.training
    model.save_pretrained(tmp_path / "a")
    same(torch.hub.load(str(ROOT), "from_pretrained", str(tmp_path / "a"), source="local"), model)
    sys.path.insert(0, str(ROOT))
    try:
        import hubconf
    finally:
        sys.path.remove(str(ROOT))
    for name in preset_names():
        assert callable(getattr(hubconf, name.replace("++", "pp").replace("-", "_")))
    assert type(hubconf.unetpp(widths=(2, 3))).__name__ == "UNetPP"


def test_a_model_card_says_what_the_network_is(model, tmp_path):
    model.save_pretrained(tmp_path, licence="cc-by-4.0")
    card = (tmp_path / "README.md").read_text()
    assert card.startswith("---\nlicense: cc-by-4.0\n")
    assert f"{CONFIG.graph.parameter_count:,}" in card
    assert f"{sum(CONFIG.graph.macs((512, 512)).values()):,}" in card
    assert "H = 2 + 2 k" in card
    assert json.loads(card.split("```json")[1].split("```")[0]) == CONFIG.to_dict()
    assert "license:" not in unet_card_without_licence(model, tmp_path / "b")


def unet_card_without_licence(model, folder) -> str:
    model.save_pretrained(folder)
    return (folder / "README.md").read_text()


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
    again = unet_jax.weights.tensors(unet_jax.from_pretrained("me/cells"))
    assert all(np.array_equal(again[name], tensor.numpy()) for name, tensor in model.state_dict().items())
    with pytest.raises(InputError, match=r"the hub does not give me/none \(404: me/none\)"):
        unet_torch.from_pretrained("me/none")
    with pytest.raises(InputError, match="no repository of the hub"):
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


@pytest.mark.filterwarnings("ignore")
def test_lightning_trains_it(tmp_path):
    pytest.importorskip("lightning", reason="lightning is not installed")
    sys.path.insert(0, str(ROOT / "examples"))
    try:
        from lightning_unet import run
    finally:
        sys.path.remove(str(ROOT / "examples"))
    before, after = run(tmp_path, steps=30)
    assert after > before
    assert isinstance(unet_torch.from_pretrained(tmp_path / "best"), unet_torch.UNet)
