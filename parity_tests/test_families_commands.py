"""The families in the commands: samples, bundles, pages. What takes minutes is marked slow."""

import json

import numpy as np
import pytest
from PIL import Image

from parity_tests.family_cases import FAMILIES
from unet_data import energy_distance, membranes, read_stack
from unet_data.evaluate import measure_samples
from unet_data.predict import labels, sample_image
from unet_export import OnnxRuntime, emit_onnx, load, onnx_bytes, read_onnx, simulate, write_bundle
from unet_export.onnx_check import weights_of
from unet_export.precision import Recipe, lower_for
from unet_spec import FAMILY_PRESETS, Checkpoint, DataSpec, InputError, preset, random_tensors
from unet_spec.latent import check_noise, draw_noise
from unet_spec.summary import facts
from unet_tools import cli
from unet_tools.checking import check_bundle
from unet_tools.narrow import NARROW, narrow

PROBABILISTIC = preset("probabilistic-unet", widths=(4, 6), latent=3, convolutions=1)
ONE_OF_EACH = [name for name in FAMILIES if name in FAMILY_PRESETS]


def checkpoint_of(config, dtype=np.float32):
    return Checkpoint(config, random_tensors(config.graph, 0, dtype), DataSpec())


def unet(*arguments):
    return cli.main([str(a) for a in arguments])


@pytest.fixture
def probabilistic(tmp_path):
    """A checkpoint and an image file."""
    checkpoint_of(PROBABILISTIC).save(tmp_path / "checkpoint")
    image = np.random.default_rng(1).integers(0, 256, (33, 21), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    return tmp_path


def test_noise_is_checked_and_repeats():
    graph = PROBABILISTIC.graph
    noise = draw_noise(graph, 4, 7)
    assert noise.shape == (4, 3)
    assert noise.dtype == np.float32
    np.testing.assert_array_equal(noise, draw_noise(graph, 4, 7))
    assert (noise != draw_noise(graph, 4, 7, 1)).all()
    assert check_noise(graph, 1, noise) == "noise"
    with pytest.raises(InputError, match=r"the noise has shape \(4, 3\); expected \(2, 3\)"):
        check_noise(graph, 2, noise)
    with pytest.raises(InputError, match="no latent variable"):
        draw_noise(preset("sa-unet").graph, 1, 0)


@pytest.mark.parametrize("runtime", ["onnx", "torch", "jax"])
def test_one_image_many_hypotheses_in_one_call(runtime):
    """Against the graph, sample by sample."""
    from unet_tools.runtimes import open_checkpoint

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


def test_predict_draws_samples_as_pages(probabilistic, capsys):
    folder = probabilistic
    rest = ("--output", "logits", "--samples", 3, "--json")
    assert unet("predict", folder / "checkpoint", folder / "image.png", "-o", folder / "a.tif", *rest) == 0
    assert json.loads(capsys.readouterr().out)["images"][0]["shape"] == [3, 33, 21, 1]
    pages = read_stack(folder / "a.tif")
    checkpoint = Checkpoint.load(folder / "checkpoint")
    run = OnnxRuntime(onnx_bytes(emit_onnx(PROBABILISTIC, checkpoint.tensors))).run
    image = read_stack(folder / "image.png")[0]
    wanted = sample_image(run, image, PROBABILISTIC, DataSpec(), draw_noise(PROBABILISTIC.graph, 3, 0, 0))
    np.testing.assert_allclose(pages, wanted, rtol=1e-5, atol=1e-6)
    assert unet("predict", folder / "checkpoint", folder / "image.png", "-o", folder / "b.tif", "--seed", 1, *rest) == 0
    assert np.abs(read_stack(folder / "b.tif") - pages).max() > 1e-3


@pytest.mark.parametrize(
    ("more", "told"),
    [
        (("--samples", 2, "--augment", "flips"), "--samples draws whole segmentations"),
        (("--samples", 2, "--shard", "1/2"), "--samples draws whole segmentations"),
        (("--samples", -1), "neither may be negative"),
    ],
)
def test_predict_refuses(probabilistic, capsys, more, told):
    folder = probabilistic
    assert unet("predict", folder / "checkpoint", folder / "image.png", "-o", folder / "a.tif", *more) == 2
    assert told in capsys.readouterr().err
    assert not (folder / "a.tif").exists()


def test_energy_distance_of_a_network():
    """Means over the images of the public function, on samples that are drawn here."""
    dataset = membranes(3, 40, 0)
    run = OnnxRuntime(onnx_bytes(emit_onnx(PROBABILISTIC, checkpoint_of(PROBABILISTIC).tensors))).run
    found = measure_samples(run, PROBABILISTIC, DataSpec(), dataset, samples=4, seed=2)
    wanted = []
    for index, (image, truth) in enumerate(zip(dataset.images, dataset.labels, strict=True)):
        noise = draw_noise(PROBABILISTIC.graph, 4, 2, index)
        drawn = [labels(sample_image(run, image, PROBABILISTIC, DataSpec(), eps[None])[0]) for eps in noise]
        wanted.append(energy_distance(np.stack(drawn), truth[None]))
    assert found["energy_distance"] == pytest.approx(np.mean(wanted), abs=1e-12)
    assert 0 < found["diversity"] < 1


def test_a_bundle_of_it_says_what_its_noise_is(tmp_path):
    bundle = write_bundle(checkpoint_of(PROBABILISTIC), tmp_path / "bundle", engines=False, precisions=("fp16",))
    noise = bundle.manifest["noise"]
    assert (noise["name"], noise["features"]) == ("noise", 3)
    assert "`noise`: float32, (S, 3)" in (bundle.folder / "README.md").read_text()
    predictor = load(bundle, "onnx")
    x = np.random.default_rng(0).normal(size=(1, 8, 12, 1)).astype(np.float32)
    zeros = predictor.runtime.run(x)
    np.testing.assert_array_equal(zeros, predictor.runtime.run(x, np.zeros((1, 3), np.float32)))  # type: ignore[call-arg]
    drawn = predictor.runtime.run(x, draw_noise(PROBABILISTIC.graph, 5, 0))  # type: ignore[call-arg]
    assert drawn.shape == (5, *zeros.shape[1:])
    assert all(f.ok is not False for f in check_bundle(bundle.folder))


def test_convert_prunes_a_supervised_unetpp(tmp_path, capsys):
    """The cut checkpoint gives what the head gave that it keeps, and holds nothing of the others."""
    whole = checkpoint_of(FAMILIES["unet++-deep"])
    whole.save(tmp_path / "whole")
    assert unet("convert", tmp_path / "whole", tmp_path / "cut", "--prune", 2) == 0
    cut = Checkpoint.load(tmp_path / "cut")
    assert cut.config == whole.config.replace(widths=whole.config.widths[:3], deep_supervision=False)
    assert len(cut.tensors) < len(whole.tensors)
    x = np.random.default_rng(0).normal(size=(1, 16, 24, 1)).astype(np.float32)
    wanted = whole.config.graph.activations(whole.tensors, x, keep=("heads.1",))["heads.1"]
    np.testing.assert_array_equal(cut.config.graph.forward(cut.tensors, x), wanted)
    for folder, level, told in (("whole", 4, "cannot prune to level 4"), ("cut", 1, "takes deep_supervision")):
        assert unet("convert", tmp_path / folder, tmp_path / "none", "--prune", level) == 2
        assert told in capsys.readouterr().err
    checkpoint_of(PROBABILISTIC).save(tmp_path / "other")
    assert unet("convert", tmp_path / "other", tmp_path / "none", "--prune", 1) == 2
    assert "this network is 'probabilistic-unet'" in capsys.readouterr().err
    assert not (tmp_path / "none").exists()


DEEP = preset("unet++-deep", widths=(3, 4), in_channels=1)


@pytest.mark.parametrize(
    ("one", "other", "code", "told"),
    [
        (DEEP, preset("unet++", widths=(3, 4, 5), in_channels=1), 1, "diverges first at"),
        (DEEP, preset("m-net", widths=(3, 4, 5), in_channels=1), 2, "no module has the same path on both sides"),
        (preset("same", widths=(2, 2, 2, 2)), preset("paper", widths=(2, 2, 2, 2)), 2, "no small image fits both"),
    ],
    ids=["alike", "foreign", "sizes"],
)
def test_diff_of_two_networks(one, other, code, told, tmp_path, capsys):
    """Of other depths, families and size grids."""
    checkpoint_of(one).save(tmp_path / "a")
    checkpoint_of(other).save(tmp_path / "b")
    for folders in ("ab", "ba"):
        assert unet("diff", *(tmp_path / folder for folder in folders)) == code
        printed = capsys.readouterr()
        assert told in (printed.err if code == 2 else printed.out)


@pytest.mark.parametrize("name", FAMILIES)
def test_the_float32_model_holds_the_checkpoint(name):
    """Bit for bit, in the checkpoint's own shapes, however the nodes want them."""
    config = FAMILIES[name]
    tensors = random_tensors(config.graph, 0, np.float32)
    _, model, where = read_onnx(onnx_bytes(emit_onnx(config, tensors)))
    found = weights_of(model, where)
    assert set(found) == set(config.graph.inference.params)
    for key, tensor in found.items():
        np.testing.assert_array_equal(tensor, tensors[key])


@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_the_lowered_network_is_the_same_and_halves_are_near(name):
    """Standardised kernels and folded norms in float64; then what a float16 file computes."""
    config = FAMILIES[name]
    tensors = random_tensors(config.graph, 0, np.float64)
    size = tuple(g.minimum + g.step for g in config.geometry.grids)
    x = np.random.default_rng(0).normal(size=(1, *size, config.in_channels))
    wanted = config.graph.forward(tensors, x)
    network = lower_for("fp16", config.graph, tensors)
    assert "std_conv" not in {node.op.kind for node in network.graph}
    assert np.abs(network.graph.forward(network.tensors, x) - wanted).max() < 1e-12 * np.abs(wanted).max()
    half = simulate(network, Recipe("fp16"), x.astype(np.float32))
    assert 0 < np.abs(half - wanted).max() < 0.05 * np.abs(wanted).max()


@pytest.mark.parametrize("name", list(FAMILY_PRESETS))
def test_narrow_networks_are_small_and_can_be_described(name, capsys, tmp_path):
    config = narrow(name)
    assert config.graph.parameter_count < 1_000_000
    (tmp_path / "config.json").write_text(config.to_json())
    assert unet("info", tmp_path / "config.json", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert told["parameters"] == config.graph.parameter_count
    names = [block["name"] for block in told["blocks"]]
    assert sum(block["parameters"] for block in told["blocks"]) == config.graph.inference.parameter_count
    assert all(i in names[:k] for k, block in enumerate(told["blocks"]) for i in block["inputs"] if i in names)


def test_what_is_narrow_names_presets():
    assert set(NARROW) <= set(FAMILY_PRESETS)


@pytest.mark.parametrize("name", ["transunet", "probabilistic-unet", "fcn-8s"])
def test_the_picture_of_a_network_that_is_no_u(name):
    """Every block has a place of its own, and repetitions are told."""
    from matplotlib.patches import Rectangle

    from unet_tools.report.blocks import folded
    from unet_tools.report.network import plot_network

    values = facts(narrow(name), (240, 240))
    figure = plot_network(values)
    boxes = [p for p in figure.axes[0].patches if isinstance(p, Rectangle)]
    assert len(boxes) == len(folded(values["blocks"]))
    assert len({(round(p.get_x(), 3), round(p.get_y(), 3)) for p in boxes}) == len(boxes)
    told = {text.get_text() for text in figure.axes[0].texts}
    assert ("layers ×2" in told) == (name == "transunet")


@pytest.mark.slow
@pytest.mark.parametrize("name", ONE_OF_EACH)
def test_every_command_takes_every_family(name, tmp_path, capsys):
    config = FAMILIES[name]
    checkpoint_of(config).save(tmp_path / "checkpoint")
    (tmp_path / "config.json").write_text(config.to_json())
    size = max(64, *(g.minimum for g in config.geometry.grids))
    assert unet("train", "synthetic", "--out", tmp_path / "run", "--config", tmp_path / "config.json", "--steps", 2,
                "--tile", size, "--json") == 0  # fmt: skip
    best = tmp_path / "run" / "best"
    assert (tmp_path / "run" / "report.html").exists()
    assert unet("evaluate", best, "synthetic", "--subset", "validation", "--json") == 0
    image = np.random.default_rng(0).integers(0, 256, (size + 9, size + 20), dtype=np.uint8)
    Image.fromarray(image).save(tmp_path / "image.png")
    assert unet("predict", best, tmp_path / "image.png", "-o", tmp_path / "labels.tif", "--json") == 0
    assert read_stack(tmp_path / "labels.tif").shape == (1, *image.shape, 1)
    assert unet("check", tmp_path / "checkpoint", "--json") == 0
    assert unet("diff", tmp_path / "checkpoint", "--json") == 0
    assert unet("plan", best, "--image", 700, 500, "--json") == 0
    assert unet("convert", best, tmp_path / "flax.safetensors") == 0
    assert unet("export", best, "-o", tmp_path / "bundle", "--precision", "fp16", "--engines", "False", "--json") == 0
    capsys.readouterr()


@pytest.mark.slow
@pytest.mark.parametrize("name", list(FAMILY_PRESETS))
def test_demo(name, tmp_path, capsys):
    """Two steps prove nothing of the training, but everything else must hold."""
    unet("demo", "--preset", name, "--steps", 2, "--out", tmp_path / "demo", "--json")
    told = json.loads(capsys.readouterr().out)
    assert [f for f in told["findings"] if f["ok"] is False] == []
    assert (tmp_path / "demo" / "report.html").exists()


@pytest.mark.parametrize("cancelled", [False, True])
def test_the_bound_of_float32_is_the_noise_floor_where_that_is_higher(cancelled, monkeypatch):
    """Where the head's bias cancels large features, float32 loses digits in NumPy and in every runtime alike; a wrong
    weight is still far outside."""
    import dataclasses

    from unet_tools import checking

    monkeypatch.setattr(checking, "installed", lambda name: name == "onnx")
    checkpoint = checkpoint_of(preset("m-net", widths=(3, 4), in_channels=1, out_channels=1))
    if cancelled:
        tensors = dict(checkpoint.tensors)
        large = np.full_like(tensors["decoder.0.block.conv2.bias"], 1000)
        weight = tensors["heads.0.conv.weight"]
        tensors |= {"decoder.0.block.conv2.bias": large, "heads.0.conv.bias": -1000 * weight.sum((1, 2, 3))}
        checkpoint = dataclasses.replace(checkpoint, tensors=tensors)
    finding = next(f for f in checking.check_checkpoint(checkpoint, []) if (f.runtime, f.dtype) == ("onnx", "float32"))
    assert finding.ok
    assert finding.bound is not None
    assert (finding.bound > 1e-5) == cancelled

    right = checking.open_checkpoint

    def wrong(given, name):
        key = "encoder.0.conv1.weight"
        return right(dataclasses.replace(given, tensors={**given.tensors, key: given.tensors[key] * 1.01}), name)

    monkeypatch.setattr(checking, "open_checkpoint", wrong)
    finding = next(f for f in checking.check_checkpoint(checkpoint, []) if (f.runtime, f.dtype) == ("onnx", "float32"))
    assert not finding.ok
