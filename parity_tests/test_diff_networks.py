"""`unet diff` on our own networks: a bug planted by hand is named at its layer, forward and backward."""

import dataclasses
import json

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")

import jax.numpy as jnp  # noqa: E402

import unet_jax  # noqa: E402
import unet_jax.blocks as jax_blocks  # noqa: E402
import unet_torch  # noqa: E402
import unet_torch.blocks as torch_blocks  # noqa: E402
from unet_data import write_stack  # noqa: E402
from unet_spec import Checkpoint, preset, random_tensors  # noqa: E402
from unet_tools.cli import main  # noqa: E402
from unet_tools.diff import Report, compare, compare_modules  # noqa: E402
from unet_tools.diff.checkpoints import open_side  # noqa: E402
from unet_tools.diff.torch_side import TorchSide  # noqa: E402

# Equal widths and sizes: JAX compiles every operation once a shape, which takes most of the time of these tests.
CONFIG = preset("same", widths=(4, 4, 4), conv_bias=True)
VALID = preset("paper", widths=(2, 4, 4), norm="batch", dropout=0.0)


def twins(dtype="float64", config=CONFIG):
    checkpoint = Checkpoint(config, random_tensors(config.graph, 3, dtype))
    with jax.enable_x64(dtype == "float64"):
        return unet_torch.UNet.from_checkpoint(checkpoint), unet_jax.UNet.from_checkpoint(checkpoint)


def image(dtype="float64", config=CONFIG):
    sizes = [grid.minimum + (2 + axis) * grid.step for axis, grid in enumerate(config.geometry.grids)]
    return np.random.default_rng(5).normal(1.0, 1.0, (1, *sizes, 1)).astype(dtype)


def diff(torch_model, jax_model, backward=False) -> Report:
    return compare_modules(torch_model, jax_model, image(), backward=backward)


def assert_blamed(report: Report, name: str, place: str = "", direction="forward") -> None:
    """This step is the only one with an error of its own; before it nothing is wrong, after it errors are inherited."""
    steps = [step for step in report.steps if step.direction == direction]
    assert [(s.name, s.place) for s in steps if s.verdict == "differs"] == [(name, place)]
    at = next(i for i, s in enumerate(steps) if s.verdict == "differs")
    for step in steps[:at]:
        assert all(r.total <= 1e-12 for r in step.readings), step
    for step in steps:
        for r in step.readings:
            assert r.total <= (r.own + r.inherited) * (1 + 1e-9)
    later = [r for s in steps[at + 1 :] for r in s.readings]
    assert all(r.own <= 1e-13 for r in later)
    assert later
    assert sum(r.inherited > 1e-8 for r in later) > 0.8 * len(later)
    assert not report.same
    assert report.first(direction) is steps[at]


def test_twins_are_the_same_forward_and_backward():
    report = compare_modules(*twins(), image(), backward=True)
    assert report.same
    assert report.first() is None
    assert report.first("backward") is None
    assert all(step.verdict == "same" for step in report.steps)
    assert report.unmatched == {"torch": [], "nnx": []}
    assert not report.notes
    names = {d: [s.name for s in report.steps if s.direction == d and not s.place] for d in ("forward", "backward")}
    layers = [node.name for node in CONFIG.graph if node.op.kind not in ("input", "crop", "concat")]
    assert [name for name in names["forward"] if name in layers] == layers  # the order of execution
    assert [name for name in names["backward"] if name in layers] == layers[::-1]
    readings = {(s.name, r.what) for s in report.steps for r in s.readings}
    assert {("decoder.1.block.conv1", f"gradient of {what}") for what in ("input 0", "weight", "bias")} <= readings


def test_twins_are_the_same_in_float32():
    report = compare_modules(*twins("float32"), image("float32"))
    assert report.same
    assert report.eps == 2.0**-23
    assert max(r.own for s in report.steps for r in s.readings) > 1e-9  # it did compute in float32


def eps_of_a_norm(torch_model, jax_model):
    torch_model.decoder[1].block.norm1.eps = 1e-6


def flipped_kernel(torch_model, jax_model):
    kernel = jax_model.decoder[1].block.conv2.kernel
    kernel[...] = kernel[...][::-1]


def activation_is_the_identity(torch_model, jax_model):
    torch_model.decoder[1].block.act1 = torch.nn.Identity()


def missing_bias(torch_model, jax_model):
    torch_model.decoder[0].up.bias = None


def transposed_kernel(torch_model, jax_model):
    with torch.no_grad():
        torch_model.decoder[1].block.conv2.weight.copy_(
            torch_model.decoder[1].block.conv2.weight.transpose(0, 1).clone()
        )


LAYERS = {
    eps_of_a_norm: "decoder.1.block.norm1",
    flipped_kernel: "decoder.1.block.conv2",
    activation_is_the_identity: "decoder.1.block.act1",
    missing_bias: "decoder.0.up",
    transposed_kernel: "decoder.1.block.conv2",
}


@pytest.mark.parametrize("plant", LAYERS, ids=lambda plant: plant.__name__)
def test_a_wrong_layer_is_named(plant):
    models = twins()
    plant(*models)
    assert_blamed(diff(*models), LAYERS[plant])


class OffCentre(torch_blocks.UpBlock):
    def forward(self, x, skip):
        x = self.up(x)
        skip = torch_blocks.center_crop(torch.roll(skip, 1, dims=2), like=x)
        return self.block(torch.cat([skip, x], dim=1))


class Swapped(jax_blocks.UpBlock):
    def __call__(self, x, skip):
        x = self.up(x)
        return self.block(jnp.concatenate([x, jax_blocks.center_crop(skip, like=x)], axis=-1))


class Forgetful(jax_blocks.ConvBlock):
    def __call__(self, x, rngs=None):
        x = self.norm1(self.conv1(x))  # no activation
        x = self.act2(self.norm2(self.conv2(x)))
        return self.dropout(x, rngs=rngs)


def test_a_wrong_crop_is_named_as_what_the_block_hands_on():
    torch_model, jax_model = twins()
    torch_model.decoder[1].__class__ = OffCentre
    assert_blamed(diff(torch_model, jax_model), "decoder.1", "→ decoder.1.block")


def test_a_wrong_crop_is_found_against_the_reference():
    """The graph knows no blocks: the error lies in what the network's code hands to the block's first layer."""
    torch_model = twins(config=VALID)[0]
    torch_model.decoder[1].__class__ = OffCentre
    checkpoint = Checkpoint(VALID, random_tensors(VALID.graph, 3, "float64"))
    sides = TorchSide(torch_model, "torch"), open_side(checkpoint, "reference", "float64", False, "reference")
    report = compare(*sides, [image(config=VALID)])
    assert_blamed(report, "", "→ decoder.1.block.conv1")
    assert "decoder.1.crop" in report.unmatched["reference"]


def test_a_wrong_order_of_concatenation_is_named():
    torch_model, jax_model = twins()
    jax_model.decoder[1].__class__ = Swapped
    assert_blamed(diff(torch_model, jax_model), "decoder.1", "→ decoder.1.block")


def test_a_forgotten_activation_is_named_and_said_to_have_no_counterpart():
    torch_model, jax_model = twins()
    jax_model.decoder[1].block.__class__ = Forgetful
    report = diff(torch_model, jax_model)
    assert_blamed(report, "decoder.1.block", "→ decoder.1.block.conv2")
    assert report.unmatched == {"torch": ["decoder.1.block.act1"], "nnx": []}


@jax.custom_vjp
def straight_through(x):
    return jax.nn.relu(x)


straight_through.defvjp(lambda x: (jax.nn.relu(x), None), lambda _, g: (g,))


class StraightThrough(jax_blocks.Activation):
    def __call__(self, x):
        return straight_through(x)


class DetachedSkip(torch_blocks.UpBlock):
    def forward(self, x, skip):
        return super().forward(x, skip.detach())


class FrozenScale(torch_blocks.BatchNorm):
    def forward(self, x):
        scale, self.weight = self.weight, torch.nn.Parameter(self.weight.detach() + 0)
        try:
            return super().forward(x)
        finally:
            self.weight = scale


def test_a_wrong_gradient_of_a_layer_is_named():
    torch_model, jax_model = twins()
    jax_model.decoder[1].block.act1.__class__ = StraightThrough
    report = diff(torch_model, jax_model, backward=True)
    assert report.first() is None
    assert_blamed(report, "decoder.1.block.act1", direction="backward")


def test_three_bugs_at_once_are_told_apart_backward():
    """A layer that is wrong in both directions, a gradient lost between layers, and a wrong one of one parameter."""
    torch_model, jax_model = twins()
    flipped_kernel(torch_model, jax_model)
    torch_model.decoder[0].__class__ = DetachedSkip
    torch_model.encoder[1].norm2.__class__ = FrozenScale
    report = diff(torch_model, jax_model, backward=True)
    assert_blamed(report, "decoder.1.block.conv2")
    blamed = [s for s in report.steps if s.direction == "backward" and s.verdict == "differs"]
    assert [(s.name, s.worst.what) for s in blamed] == [
        ("decoder.1.block.conv2", "gradient of input 0"),
        ("decoder.0", "gradient of input 1"),
        ("encoder.1.norm2", "gradient of weight"),
    ]
    assert [r.what for r in blamed[2].readings if r.differs] == ["gradient of weight"]


def test_another_loss_of_precision_is_told_from_rounding():
    """A layer that computes in float32 within a float64 network: 1e-8, which a test at 1e-3 never sees."""
    torch_model, jax_model = twins()

    class Single(torch_blocks.Activation):
        def forward(self, x):
            return super().forward(x.float()).double()

    torch_model.encoder[1].act2.__class__ = Single
    report = diff(torch_model, jax_model)
    assert [s.name for s in report.steps if s.verdict == "differs"] == ["encoder.1.act2"]
    assert 1e-9 < report.first().worst.own < 1e-7


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Two checkpoints, of which the second has one kernel flipped; one that crops; one with other channels."""
    root = tmp_path_factory.mktemp("diff")
    tensors = random_tensors(CONFIG.graph, 3)
    Checkpoint(CONFIG, tensors).save(root / "a")
    wrong = tensors | {"decoder.1.block.conv1.weight": tensors["decoder.1.block.conv1.weight"][..., ::-1].copy()}
    Checkpoint(CONFIG, wrong).save(root / "b")
    Checkpoint(VALID, random_tensors(VALID.graph, 3)).save(root / "valid")
    other = dataclasses.replace(CONFIG, in_channels=3)
    Checkpoint(other, random_tensors(other.graph, 0)).save(root / "rgb")
    return root


@pytest.mark.parametrize(
    "runtimes",
    [("jax", "reference"), ("onnx", "reference"), ("torch", "onnx")],
    ids="-".join,
)
def test_the_command_says_that_runtimes_agree(folders, capsys, runtimes):
    if "onnx" in runtimes:
        pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    assert main(["diff", str(folders / "a"), "--runtimes", *runtimes]) == 0
    assert "the same" in capsys.readouterr().out


def test_the_command_names_the_layer_where_checkpoints_part(folders, capsys, tmp_path):
    picture = np.random.default_rng(0).integers(0, 255, (1, 50, 70, 1), np.uint8)
    write_stack(tmp_path / "image.png", picture)
    arguments = ["--image", str(tmp_path / "image.png"), "--json", "-o", str(tmp_path / "d.png")]
    assert main(["diff", str(folders / "a"), str(folders / "b"), *arguments]) == 1
    told = json.loads(capsys.readouterr().out)
    assert (told["same"], told["dtype"]) == (False, "float64")
    assert told["first_forward"]["name"] == "decoder.1.block.conv1"
    assert (tmp_path / "d.png").read_bytes().startswith(b"\x89PNG")
    assert main(["diff", str(folders / "a"), str(folders / "b"), "--tolerance", "10"]) == 0


def test_onnx_is_blamed_for_a_wrong_node(folders, capsys, monkeypatch):
    onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
    pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
    import unet_export

    emit = unet_export.emit_onnx

    def off_centre(*args, **kwargs):
        model = emit(*args, **kwargs)
        name = "decoder.1.crop"
        node = next(n for n in model.graph.node if n.name == name)
        by_name = {t.name: t for t in model.graph.initializer}
        for tensor, shift in ((by_name[node.input[1]], 1), (by_name[node.input[2]], 1)):
            tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) + shift, tensor.name))
        return model

    monkeypatch.setattr(unet_export, "emit_onnx", off_centre)
    assert main(["diff", str(folders / "valid"), "--runtimes", "onnx", "reference", "--json"]) == 1
    assert json.loads(capsys.readouterr().out)["first_forward"]["name"] == "decoder.1.crop"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["nowhere"], "no checkpoint at"),
        (["a", "rgb"], "other channels"),
        (["a", "--runtimes", "onnx", "torch", "--dtype", "float64"], "float32"),
        (["a", "--runtimes", "jax", "reference", "--backward"], "no backward pass"),
        (["a", "-o", "plot.pdf"], ".png, .svg"),
        (["a", "--tolerance", "-1"], "tolerance is -1"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_bad_input_is_one_line_and_exit_code_2(folders, capsys, monkeypatch, arguments, told):
    monkeypatch.chdir(folders)
    assert main(["diff", *arguments]) == 2
    error = capsys.readouterr().err
    assert error.startswith("unet: ")
    assert told in error
    assert error.count("\n") == 1
