"""Bugs planted in one twin: the comparison names the layer, forward and backward."""

import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
import jax.numpy as jnp

import unet_jax.nn.blocks as jax_blocks
import unet_jax.nn.pointwise as jax_pointwise
import unet_torch.nn.blocks as torch_blocks
import unet_torch.nn.norm as torch_norm
from unet_tools.diff import compare_modules

from .twins import CONFIG, OffCentre, assert_blamed, diff, image, twins


@pytest.mark.slow
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


class StraightThrough(jax_pointwise.Activation):
    def __call__(self, x):
        return straight_through(x)


class DetachedSkip(torch_blocks.UpBlock):
    def forward(self, x, skip):
        return super().forward(x, skip.detach())


class FrozenScale(torch_norm.BatchNorm):
    def forward(self, x):
        scale, self.weight = self.weight, torch.nn.Parameter(self.weight.detach() + 0)
        try:
            return super().forward(x)
        finally:
            self.weight = scale


@pytest.mark.slow
def test_a_wrong_gradient_of_a_layer_is_named():
    torch_model, jax_model = twins()
    jax_model.decoder[1].block.act1.__class__ = StraightThrough
    report = diff(torch_model, jax_model, backward=True)
    assert report.first() is None
    assert_blamed(report, "decoder.1.block.act1", direction="backward")


@pytest.mark.slow
def test_three_bugs_at_once_are_distinguished_backward():
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
