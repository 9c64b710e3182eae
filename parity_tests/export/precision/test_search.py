"""The search for the layers that must stay in float32."""

import numpy as np
import pytest

from unet_spec import PRESETS, InputError, UNetConfig, random_tensors

onnx = pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed; pip install 'unet-twins[onnx]'")
from unet_export import Distance, OnnxRuntime, PrecisionRecipe, emit_onnx, onnx_bytes, simulate
from unet_export.precision.formats import lower_for
from unet_export.precision.search import Search, smallest_kept
from unet_export.reference import Comparison, compare

from ...fixtures.export_cases import images_for, reference


def overflowing(precision: str = "fp16") -> tuple[UNetConfig, dict]:
    """The logits are those of an ordinary network, but the output of one layer exceeds the range of float16."""
    config = PRESETS["paper"].replace(widths=(4, 8))
    tensors = random_tensors(config.graph, 1)
    for key in ("encoder.1.conv1.weight", "encoder.1.conv1.bias"):
        tensors[key] *= np.float32(1e6)
    tensors["encoder.1.conv2.weight"] *= np.float32(1e-6)
    return config, tensors


def test_a_black_mask_is_seen_and_the_layers_that_cause_it_stay_in_float32():
    config, tensors = overflowing()
    images = images_for(config)
    wanted = [reference(config, tensors, images)]
    network = lower_for("fp16", config.graph, tensors)
    logits = simulate(network, PrecisionRecipe("fp16"), images)
    assert not np.isfinite(logits).all()
    assert compare([logits], wanted).label_agreement == 0
    search = Search(network, PrecisionRecipe("fp16"), [images], wanted)
    kept = smallest_kept(search, 0.999)
    assert kept == ("encoder.1.conv1", "encoder.1.conv2"), "who makes the large values, and who takes them"
    good = simulate(network, PrecisionRecipe("fp16", kept), images)
    assert compare([good], wanted).label_agreement >= 0.999
    assert OnnxRuntime(onnx_bytes(emit_onnx(config, tensors, recipe=PrecisionRecipe("fp16", kept)))).precision == "fp16"


class Puzzle(Search):
    """Labels agree if and only if the secret convolutions are kept. The ranking is either right or misleading."""

    def __init__(self, names: tuple[str, ...], secret: set[str], misleading: str = ""):
        self.candidates, self.secret, self.recipe = names, secret, PrecisionRecipe("int8")
        self.misleading, self.asked = misleading, []

    def harm(self, name):
        return 2.0 if name in self.misleading else float(name in self.secret)

    def compare(self, kept):
        missing = len(self.secret - set(kept))
        return Comparison(Distance(missing, missing, 1, missing), 1 - 0.01 * missing)

    def reaches(self, kept, bound):
        self.asked.append(set(kept))
        return self.compare(kept).label_agreement >= bound


@pytest.mark.parametrize("misleading", ["", "gh"])
@pytest.mark.parametrize("secret", [set(), {"c"}, {"b", "e"}, {"a", "d", "f"}, set("abdef")], ids=len)
def test_the_search_finds_the_smallest_set(secret, misleading):
    assert set(smallest_kept(Puzzle(tuple("abcdefgh"), secret, misleading), 0.999)) == secret


def test_one_bad_layer_of_many_is_found_in_two_trials():
    puzzle = Puzzle(tuple("abcdefghijklmnopqr"), {"m"})
    assert smallest_kept(puzzle, 0.999) == ("m",)
    assert puzzle.asked == [set(), {"m"}]


def test_a_network_that_no_precision_suits_is_refused():
    with pytest.raises(InputError, match=r"int8 changes 3\.00% of the labels even with the best choice"):
        smallest_kept(Puzzle(tuple("abc"), set("abc")), 0.999)


@pytest.fixture(scope="module")
def three_images():
    """A search in fp16 on three images, of which the second alone decides: it is too bright."""
    config = PRESETS["paper"].replace(widths=(4, 8))
    tensors = random_tensors(config.graph, 1)
    images = [scale * images_for(config) for scale in (1.0, 1e5, 1.0)]
    references = [reference(config, tensors, image) for image in images]
    network = lower_for("fp16", config.graph, tensors)
    return lambda: Search(network, PrecisionRecipe("fp16"), images, references)


def test_the_input_that_decides_against_a_set_ends_the_comparison(three_images, monkeypatch):
    search, ran = three_images(), []
    monkeypatch.setattr(search, "_run", lambda kept, x, run=search._run: ran.append(x.max()) or run(kept, x))
    assert not search.reaches((), 0.999)
    assert len(ran) == 2
    assert not search.reaches((), 0.9999)
    assert len(ran) == 2, "a stricter bound needs no further look"
    assert search.trials == 1
    assert search.reaches(search.candidates, 0.999)
    assert search.compare(search.candidates).label_agreement >= 0.999
    assert len(ran) == 5


@pytest.mark.parametrize("bound", [0.0, 0.5, 0.9, 0.999])
def test_an_early_end_decides_as_the_whole_comparison(three_images, bound):
    for count in range(4):
        kept = three_images().candidates[:count]
        assert three_images().reaches(kept, bound) == (three_images().compare(kept).label_agreement >= bound)


def test_a_layer_is_ranked_by_what_it_alone_does_to_the_probe():
    config, tensors = overflowing()
    images = images_for(config)
    network = lower_for("fp16", config.graph, tensors)
    search = Search(network, PrecisionRecipe("fp16"), [images], [reference(config, tensors, images)], probe=images[:1])
    harm = {name: search.harm(name) for name in search.candidates}
    assert {name for name, value in harm.items() if not np.isfinite(value)} == {"encoder.1.conv1", "encoder.1.conv2"}


def test_a_set_that_was_compared_is_not_compared_again(three_images, monkeypatch):
    search, ran = three_images(), []
    monkeypatch.setattr(search, "_run", lambda kept, x, run=search._run: ran.append(kept) or run(kept, x))
    first = search.compare(search.candidates[:1])
    assert search.compare(search.candidates[:1]) is first
    assert search.reaches(search.candidates[:1], first.label_agreement)
    assert not search.reaches(search.candidates[:1], first.label_agreement + 1e-9)
    assert (len(ran), search.trials) == (3, 1)
    assert ran[0] == {search.candidates[0]}


def test_the_probe_is_the_first_input_unless_another_is_given():
    config = PRESETS["paper"].replace(widths=(2, 4))
    network = lower_for("fp16", config.graph, random_tensors(config.graph, 1))
    images = [images_for(config), 2 * images_for(config)]
    assert Search(network, PrecisionRecipe("fp16"), images, []).probe is images[0]
    assert Search(network, PrecisionRecipe("fp16"), images, [], probe=images[1]).probe is images[1]


def test_what_the_builder_keeps_is_no_choice_of_the_search():
    config = PRESETS["same"].replace(widths=(2, 4), spatial_dims=3)
    for precision, searched in (("bf16", False), ("fp16", True)):
        network = lower_for(precision, config.graph, random_tensors(config.graph, 1))
        search = Search(network, PrecisionRecipe(precision), [np.zeros(1)], [])
        assert ("decoder.0.up" in search.candidates) == searched


def test_labels_of_a_search_are_those_of_the_classes():
    """A third channel, a distance, is larger than both logits."""
    config = PRESETS["same"].replace(widths=(2, 4), distance_head=True)
    tensors = random_tensors(config.graph, 1)
    tensors["distance.bias"][:] = 1e3
    image = images_for(config)
    wrong = reference(config, tensors, image)
    wrong[..., :2] *= -1
    network = lower_for("fp16", config.graph, tensors)
    for classes, agree in ((2, 0.0), (None, 1.0)):
        search = Search(network, PrecisionRecipe("fp16"), [image], [wrong], classes)
        assert search.compare(search.candidates).label_agreement == agree
        other = Search(network, PrecisionRecipe("fp16"), [image], [wrong], classes)
        assert other.reaches(other.candidates, 0.5) == (agree > 0.5)
