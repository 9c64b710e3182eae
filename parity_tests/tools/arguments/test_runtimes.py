"""Weights of every dtype in every runtime, and many hypotheses of one image in one call."""

import dataclasses

import numpy as np
import pytest

from unet_spec import Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_spec.ops import draw_noise

PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


@pytest.mark.parametrize("runtime", ["onnx", "torch", "jax"])
def test_one_image_many_hypotheses_in_one_call(runtime):
    """Compared with the graph, sample by sample."""
    from unet_tools.arguments.runtimes import open_checkpoint

    checkpoint, graph = checkpoint_of(PROBABILISTIC), PROBABILISTIC.graph
    x = np.random.default_rng(0).normal(size=(1, 8, 12, 1)).astype(np.float32)
    noise = draw_noise(graph, 3, 0)
    double = {name: t.astype(np.float64) for name, t in checkpoint.tensors.items()}
    maps = noise.astype(np.float64).reshape(3, 1, 1, 1, 3)
    wanted = np.concatenate([graph.forward(double, x.astype(np.float64), inputs={"noise": eps}) for eps in maps])
    together = graph.forward(double, x.astype(np.float64), inputs={"noise": maps[:, 0]})
    np.testing.assert_allclose(together, wanted, rtol=1e-12)
    found = open_checkpoint(checkpoint, runtime).run(x, noise)
    assert np.abs(wanted[0] - wanted[1]).max() > 1e-3
    assert np.abs(found - wanted).max() < 1e-5 * np.abs(wanted).max()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_weights_of_every_dtype_run_alike_and_that_is_said(dtype, tmp_path, capsys):
    import torch

    import unet_torch
    from unet_tools.arguments.runtimes import open_network
    from unet_tools.cli import main

    config = preset("same", widths=(2, 3))
    model = unet_torch.create(config).to(getattr(torch, dtype))
    model.data = DataSpec((0.5,), (0.2,))
    model.save_pretrained(tmp_path / "c")
    stored = Checkpoint.load(tmp_path / "c").tensors
    assert {t.dtype.name for t in stored.values()} == {dtype}
    x = np.random.default_rng(0).normal(size=(1, 16, 24, 1)).astype(np.float32)
    exact = config.graph.forward({n: t.astype(np.float64) for n, t in stored.items()}, x.astype(np.float64))
    for name in ("torch", "jax", "onnx"):
        logits = open_network(tmp_path / "c", name).run(x)
        assert logits.dtype == np.float32
        assert np.abs(logits - exact).max() < 1e-5 * np.abs(exact).max()
        assert f"its weights are {dtype}; they are converted to float32" in " ".join(capsys.readouterr().err.split())
    assert main(["convert", str(tmp_path / "c"), str(tmp_path / "w.pth")]) == 0
    assert main(["convert", str(tmp_path / "w.pth"), str(tmp_path / "back"), "--preset", "same"]) == 0
    assert (tmp_path / "back/model.safetensors").read_bytes() == (tmp_path / "c/model.safetensors").read_bytes()


def test_a_bfloat16_folder_of_the_flax_twin_is_the_pytorch_twins(tmp_path):
    import jax.numpy as jnp
    import torch

    import unet_jax
    import unet_torch

    first = unet_jax.create(preset("same", widths=(2, 3)), 0, dtype=jnp.bfloat16)
    first.data = DataSpec((0.5,), (0.2,))
    first.save_pretrained(tmp_path / "a")
    second = unet_torch.from_pretrained(tmp_path / "a")
    assert second.head.weight.dtype == torch.bfloat16
    second.save_pretrained(tmp_path / "b")
    assert (tmp_path / "a/model.safetensors").read_bytes() == (tmp_path / "b/model.safetensors").read_bytes()
    assert unet_torch.TorchRuntime(second).run(np.zeros((1, 16, 16, 1), np.float32)).dtype == np.float32


@pytest.mark.parametrize("name", ["onnx", "torch", "jax"])
@pytest.mark.parametrize("how", ["pickle", "copy"])
def test_a_runtime_can_be_pickled_and_copied(name, how):
    import copy
    import pickle

    from unet_tools.arguments.runtimes import open_checkpoint

    config = preset("same", widths=(2, 3))
    runtime = open_checkpoint(checkpoint_of(config), name)
    x = np.random.default_rng(0).normal(size=(1, 16, 24, 1)).astype(np.float32)
    expected = runtime.run(x)
    again = pickle.loads(pickle.dumps(runtime)) if how == "pickle" else copy.deepcopy(runtime)
    np.testing.assert_array_equal(again.run(x), expected)


@pytest.mark.parametrize("runtime", ["onnx", "torch", "jax", "mnn", "mnn-fast"])
def test_weights_that_are_not_finite_run_nowhere(runtime):
    from unet_tools.arguments.runtimes import open_checkpoint

    config = preset("same", widths=(2, 4))
    checkpoint = checkpoint_of(config)
    name = "decoder.0.block.conv2.weight"
    bad = np.full_like(checkpoint.tensors[name], np.nan)
    if runtime not in ("mnn", "mnn-fast"):
        open_checkpoint(checkpoint, runtime)
    else:
        pytest.importorskip("MNN")
    with pytest.raises(InputError, match=f"{name} contains NaN or infinite values .16 of 16.".replace("16", r"\d+")):
        open_checkpoint(dataclasses.replace(checkpoint, tensors={**checkpoint.tensors, name: bad}), runtime)


def test_a_network_is_opened_again_in_another_runtime(tmp_path):
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    from unet_export import BundleSettings, write_bundle
    from unet_tools.arguments import runtimes
    from unet_tools.arguments.runtimes import open_network, reopened

    checkpoint = checkpoint_of(preset("paper", widths=(2, 3)))
    checkpoint.save(tmp_path / "c")
    write_bundle(checkpoint, tmp_path / "b", BundleSettings(engines=False))
    x = np.random.default_rng(0).normal(size=(1, 28, 36, 1)).astype(np.float32)
    wanted = checkpoint.config.graph.forward(checkpoint.tensors, x.astype(np.float64))
    pairs = [("c", "onnx", "torch"), ("c", "torch", "jax"), ("b", "onnx", "openvino"), ("b", "onnx", "mnn")]
    for folder, first, second in (pair for pair in pairs if runtimes.installed(pair[2])):
        network, closed = open_network(tmp_path / folder, first), []
        object.__setattr__(network.runtime, "close", lambda closed=closed: closed.append(0))
        again = reopened(network, tmp_path / folder, second)
        assert closed == [0]  # the first one gives its memory back
        assert type(again.runtime) is not type(network.runtime)
        assert (again.data, again.name) == (network.data, second)
        assert np.abs(again.run(x) - wanted).max() <= 1e-5 * np.abs(wanted).max()
    for name in ("jax", "torch"):
        with pytest.raises(InputError, match=f"is a bundle: it runs in onnx, openvino, mnn or tensorrt, not in {name}"):
            reopened(open_network(tmp_path / "b"), tmp_path / "b", name)
        with pytest.raises(InputError, match=f"it runs in onnx or tensorrt; give the checkpoint to run it in {name}"):
            open_network(tmp_path / "b", name)
    with pytest.raises(InputError, match=r"TensorRT runs engines; unet export .* builds them"):
        open_network(tmp_path / "c", "tensorrt")
    with pytest.raises(InputError, match=r"unknown runtime 'onnxx' for a checkpoint; allowed: jax, torch, onnx"):
        open_network(tmp_path / "c", "onnxx")


def test_without_a_runtime_the_message_says_what_to_install(tmp_path, monkeypatch):
    from unet_tools.arguments import runtimes

    checkpoint_of(preset("same", widths=(2, 3))).save(tmp_path / "c")
    monkeypatch.setattr(runtimes, "installed", lambda name: False)
    with pytest.raises(InputError, match=r"no runtime is installed; pip install 'unet-twins\[onnx\]', or \[torch\] or"):
        runtimes.open_network(tmp_path / "c")
    with pytest.raises(InputError, match=r"the runtime mnn-fast is not installed; pip install 'unet-twins\[mnn\]'"):
        runtimes.open_network(tmp_path / "c", "mnn-fast")


def test_the_first_installed_runtime_is_taken(tmp_path, monkeypatch):
    from unet_tools.arguments import runtimes

    checkpoint_of(preset("same", widths=(2, 3))).save(tmp_path / "c")
    taken = []
    monkeypatch.setattr(runtimes, "open_checkpoint", lambda checkpoint, name: taken.append(name))
    for missing in ((), ("onnx",), ("onnx", "torch")):
        monkeypatch.setattr(runtimes, "installed", lambda name, missing=missing: name not in missing)
        runtimes.open_network(tmp_path / "c")
    assert taken == ["onnx", "torch", "jax"]


class Mnn:
    """Stub that keeps its arguments."""

    name, config, provider = "mnn", preset("same", widths=(2, 3)), ""

    def __init__(self, source, fast=False):
        self.source, self.fast = source, fast


@pytest.mark.parametrize(("name", "fast"), [("mnn", False), ("mnn-fast", True)])
def test_mnn_is_fast_only_where_that_is_asked_for(name, fast, tmp_path, monkeypatch):
    pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
    import unet_export
    from unet_tools.arguments import runtimes

    bundle = type("Bundle", (), {"onnx": "model.onnx", "data": DataSpec((0.25,), (0.5,))})
    monkeypatch.setattr(unet_export, "MnnRuntime", Mnn)
    monkeypatch.setattr(unet_export, "is_bundle", lambda path: path.name == "b")
    monkeypatch.setattr(unet_export, "open_bundle", lambda path: bundle)
    monkeypatch.setattr(runtimes, "installed", lambda name: True)
    network = runtimes.open_network(tmp_path / "b", name)
    assert (network.runtime.source, network.runtime.fast, network.data) == ("model.onnx", fast, bundle.data)
    again = runtimes.reopened(network, tmp_path / "b", name)
    assert (again.runtime.source, again.runtime.fast) == ("model.onnx", fast)
    checkpoint_of(Mnn.config).save(tmp_path / "c")
    assert runtimes.open_network(tmp_path / "c", name).runtime.fast == fast
    with pytest.raises(InputError, match="unknown runtime 'tensorrt'"):
        runtimes.open_checkpoint(checkpoint_of(Mnn.config), "tensorrt")


@pytest.mark.parametrize(
    ("name", "packages"),
    [
        ("jax", {"jax", "flax"}), ("torch", {"torch"}), ("onnx", {"onnx", "onnxruntime"}),
        ("openvino", {"onnx", "openvino"}), ("mnn", {"onnx", "MNN"}), ("mnn-fast", {"onnx", "MNN"}),
    ],
)  # fmt: skip
def test_a_runtime_is_installed_if_all_of_its_packages_are(name, packages, monkeypatch):
    from unet_tools.arguments import runtimes

    for missing in [None, *packages, "other"]:
        monkeypatch.setattr(runtimes, "find_spec", lambda package, missing=missing: None if package == missing else 1)
        assert runtimes.installed(name) == (missing not in packages)


def test_weights_in_float32_are_taken_as_they_are():
    from unet_tools.arguments.runtimes import in_float32

    single = checkpoint_of(preset("same", widths=(2, 3)))
    assert in_float32(single) is single
    name = next(iter(single.tensors))
    mixed = dataclasses.replace(single, tensors=single.tensors | {name: single.tensors[name].astype(np.float64)})
    assert {t.dtype.name for t in in_float32(mixed).tensors.values()} == {"float32"}
