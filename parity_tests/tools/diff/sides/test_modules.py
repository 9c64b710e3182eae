"""`compare_modules` on other modules: a small network written idiomatically in both frameworks."""

import numpy as np
import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
import jax.numpy as jnp
from flax import nnx
from torch import nn

from unet_spec import InputError
from unet_tools.diff import compare_modules

SIZE, CHANNELS, CLASSES = 6, 4, 3
NAMES = {"features.0": "conv", "features.1": "norm", "tail.proj": "up", "tail.fc": "fc"}


class TorchNet(nn.Module):
    """Activations in place, one module called twice, a functional residual sum, a dict as output."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(2, CHANNELS, 3, padding=1), nn.BatchNorm2d(CHANNELS), nn.ReLU(inplace=True)
        )
        self.mix = nn.Conv2d(CHANNELS, CHANNELS, 1)
        self.tail = nn.ModuleDict({
            "proj": nn.ConvTranspose2d(CHANNELS, 2, 2, stride=2),
            "fc": nn.Linear(2 * (2 * SIZE) ** 2, CLASSES),
        })  # fmt: skip

    def forward(self, image, scale):
        x = self.features(image)
        x = x + self.mix(torch.tanh(self.mix(x)))
        x = self.tail["proj"](x) * scale
        return {"logits": self.tail["fc"](x.flatten(1)), "top": x.argmax(1), "size": x.shape[-1], "map": (x,)}


class FlaxNet(nnx.Module):
    def __init__(self):
        rngs = nnx.Rngs(0)
        self.conv = nnx.Conv(2, CHANNELS, (3, 3), padding=1, rngs=rngs)
        self.norm = nnx.BatchNorm(CHANNELS, momentum=0.9, use_fast_variance=False, rngs=rngs)
        self.mix = nnx.Conv(CHANNELS, CHANNELS, (1, 1), rngs=rngs)
        self.up = nnx.ConvTranspose(CHANNELS, 2, (2, 2), (2, 2), padding="VALID", rngs=rngs)
        self.fc = nnx.Linear(2 * (2 * SIZE) ** 2, CLASSES, rngs=rngs)

    def flat(self, x):
        return x.transpose(0, 3, 1, 2).reshape(len(x), -1)

    def __call__(self, image, scale):
        x = jax.nn.relu(self.norm(self.conv(image)))
        x = x + self.mix(jnp.tanh(self.mix(x)))
        x = self.up(x) * scale
        return {"logits": self.fc(self.flat(x)), "top": x.argmax(-1), "size": x.shape[-2], "map": (x,)}


class FlaxNetFlattenedAsItLies(FlaxNet):
    def flat(self, x):
        return x.reshape(len(x), -1)


def pair(flax_class=FlaxNet):
    """Both with the same random weights, float32, in evaluation mode."""
    torch.manual_seed(0)
    one, two = TorchNet().eval(), flax_class()
    two.eval()
    weights = {name: t.detach().numpy().copy() for name, t in one.state_dict().items()}
    for name, conv in (("features.0", two.conv), ("mix", two.mix)):
        conv.kernel[...] = jnp.array(weights[f"{name}.weight"].transpose(2, 3, 1, 0))
        conv.bias[...] = jnp.array(weights[f"{name}.bias"])
    # Without transpose_kernel, Flax keeps the axes of a convolution and reverses the window.
    two.up.kernel[...] = jnp.array(weights["tail.proj.weight"].transpose(2, 3, 0, 1)[::-1, ::-1])
    two.up.bias[...] = jnp.array(weights["tail.proj.bias"])
    two.fc.kernel[...] = jnp.array(weights["tail.fc.weight"].T)
    two.fc.bias[...] = jnp.array(weights["tail.fc.bias"])
    return one, two


def inputs():
    rng = np.random.default_rng(0)
    return [rng.normal(size=(3, SIZE, SIZE, 2)).astype(np.float32), np.float32(rng.normal(size=(3, 1, 1, 1)))]


def differing(report):
    return [(s.direction, s.name, s.place) for s in report.steps if s.verdict == "differs"]


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
def test_equal_modules_are_the_same_and_stay_as_they_were(training):
    one, two = pair()
    one.train(training)
    two.train() if training else two.eval()
    before = {name: t.clone() for name, t in one.state_dict().items()}
    mean, call = np.array(two.norm.mean[...]), nnx.Conv.__call__
    report = compare_modules(one, two, inputs(), NAMES, backward=training)
    assert report.same, report.first() or report.first("backward")
    assert report.unmatched == {"torch": ["features", "features.2"], "nnx": []}
    assert all(torch.equal(t, before[name]) for name, t in one.state_dict().items())
    assert np.array_equal(two.norm.mean[...], mean)
    assert nnx.Conv.__call__ is call
    assert not any("forward" in vars(module) for module in one.modules())
    assert all(p.grad is None for p in one.parameters())
    readings = {(s.direction, s.name, r.what) for s in report.steps for r in s.readings}
    assert {
        ("forward", "", f"output{label}") for label in ("['logits']", "['top']", "['size']", "['map'][0]")
    } <= readings
    assert {("forward", "mix", "output"), ("forward", "mix#2", "output")} <= readings  # called twice
    assert not report.notes
    if not training:
        return
    layers = ["features.0", "features.1", "mix", "mix#2", "tail.proj", "tail.fc"]
    assert {("backward", k, f"gradient of {p}") for k in layers for p in ("weight", "bias")} <= readings


def test_a_map_flattened_as_it_lies_is_named():
    one, two = pair(FlaxNetFlattenedAsItLies)
    report = compare_modules(one, two, inputs(), NAMES)
    assert differing(report) == [("forward", "", "→ tail.fc")]
    assert report.first().readings[0].what == "input 0 of tail.fc"


def test_the_second_call_alone_is_named():
    class Uneven(nn.Conv2d):
        def forward(self, x):
            return super().forward(x) * (1.001 if x.abs().max() <= 1 else 1)  # after the tanh, which is the second call

    one, two = pair()
    one.mix.__class__ = Uneven
    image, scale = inputs()
    report = compare_modules(one, two, [10 * image, scale], NAMES)
    assert differing(report) == [("forward", "mix#2", "")]


def test_a_statistic_that_was_not_loaded_is_named_in_float32():
    one, two = pair()
    one.features[1].running_var.mul_(1.01)
    assert differing(compare_modules(one, two, inputs(), NAMES)) == [("forward", "features.1", "")]


def test_integers_and_plain_numbers_must_be_equal():
    one, two = pair()
    forward = TorchNet.forward

    class Shifted(TorchNet):
        def forward(self, image, scale):
            out = forward(self, image, scale)
            return out | {"top": out["top"].roll(1, 0), "size": 5}

    one.__class__ = Shifted
    report = compare_modules(one, two, inputs(), NAMES)
    assert differing(report) == [("forward", "", "→ its output")]
    assert {r.what for r in report.first().readings if r.differs} == {"output['top']", "output['size']"}


def test_two_modules_of_one_framework():
    one, other = pair()[0], pair()[0]
    assert compare_modules(one, other, inputs(), backward=True).same
    with torch.no_grad():
        other.tail["fc"].bias[0] += 1
    assert differing(compare_modules(one, other, inputs())) == [("forward", "tail.fc", "")]
    other, two = pair()[1], pair()[1]
    two.fc.bias[...] += 1
    assert differing(compare_modules(other, two, inputs())) == [("forward", "fc", "")]


def test_paths_that_do_not_match_are_explained():
    class Plain(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(2, CHANNELS, 3, padding=1), nn.Conv2d(CHANNELS, 2, 1)

        def forward(self, x):
            return self.second(self.first(x))

    class Other(nnx.Module):
        def __init__(self):
            self.a = nnx.Conv(2, CHANNELS, (3, 3), padding=1, rngs=nnx.Rngs(0))
            self.b = nnx.Conv(CHANNELS, 2, (1, 1), rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.b(self.a(x))

    image = inputs()[:1]
    with pytest.raises(InputError, match=r"no module has the same path.*names=\{'first': 'a', 'second': 'b'\}"):
        compare_modules(Plain(), Other(), image)
    with pytest.raises(InputError, match="torch calls no module 'frist'; near it: 'first'"):
        compare_modules(Plain(), Other(), image, {"frist": "a"})
    with pytest.raises(InputError, match="nnx calls no module 'c'"):
        compare_modules(Plain(), Other(), image, {"first": "c"})
    with pytest.raises(InputError, match=r"expected a torch\.nn\.Module or a flax\.nnx\.Module"):
        compare_modules(Plain(), lambda x: x, image)
    with pytest.raises(InputError, match=r"inputs\[0\] is a Tensor"):
        compare_modules(Plain(), Other(), [torch.zeros(1, 6, 6, 2)])
    with pytest.raises(InputError, match="layout is 'NCHW'"):
        compare_modules(Plain(), Other(), image, layout="NCHW")


def test_layout_by_path():
    """Four axes without channels: attention maps (N, heads, L, L) have the same layout in both frameworks."""

    class TorchMap(nn.Module):
        def __init__(self):
            super().__init__()
            self.soft = nn.Softmax(-1)

        def forward(self, x):
            return self.soft(x)

    class Soft(nnx.Module):
        def __call__(self, x):
            return jax.nn.softmax(x, -1)

    class FlaxMap(nnx.Module):
        def __init__(self):
            self.soft = Soft()

        def __call__(self, x):
            return self.soft(x)

    x = [np.random.default_rng(0).normal(size=(2, 3, 5, 5)).astype(np.float32)]
    assert compare_modules(TorchMap(), FlaxMap(), x, layout="same", backward=True).same
    assert compare_modules(TorchMap(), FlaxMap(), x, layout={"*": "same"}).same
    assert not compare_modules(TorchMap(), FlaxMap(), x).same


def test_a_module_that_cannot_take_the_other_ones_input_differs():
    class One(nn.Module):
        def __init__(self):
            super().__init__()
            self.widen, self.last = nn.Linear(4, 8), nn.Linear(8, 2)

        def forward(self, x):
            return self.last(self.widen(x))

    class Two(nnx.Module):
        def __init__(self):
            self.widen, self.last = nnx.Linear(4, 6, rngs=nnx.Rngs(0)), nnx.Linear(6, 2, rngs=nnx.Rngs(0))

        def __call__(self, x):
            return self.last(self.widen(x))

    report = compare_modules(One(), Two(), np.ones((3, 4), np.float32))
    assert report.first().name == "widen"
    assert report.first().worst.note == "shapes (3, 8) and (3, 6)"
    last = next(s for s in report.steps if s.name == "last")
    assert last.verdict == "differs"
    assert "cannot run on the other side's input" in last.worst.note
