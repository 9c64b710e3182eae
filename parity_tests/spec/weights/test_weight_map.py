"""The weight map over configs and bit patterns that nobody chose."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from unet_jax import weights as jax_weights
from unet_spec import InputError, UNetConfig, random_tensors
from unet_spec.weights import weight_map
from unet_torch import weights as torch_weights

from ...battery.mapping import DTYPES, random_bits
from ...battery.measure import differing
from ...battery.pair import jax_twin, torch_twin


@st.composite
def configs(draw):
    """Any network that the config allows, a few channels wide: odd widths, as many channels in as out, 2-D and 3-D."""
    norm = draw(st.sampled_from(["none", "batch", "group", "instance"]))
    groups = draw(st.sampled_from([1, 2, 3])) if norm == "group" else 1
    widths = draw(st.lists(st.integers(1, 4).map(lambda w: w * groups), min_size=2, max_size=4))
    return UNetConfig(
        in_channels=draw(st.integers(1, 4)),
        out_channels=draw(st.integers(1, 4)),
        widths=tuple(widths),
        spatial_dims=draw(st.sampled_from([2, 3])),
        padding=draw(st.sampled_from(["valid", "same"])),
        merge=draw(st.sampled_from(["crop", "pad"])),
        upsampling=draw(st.sampled_from(["transposed", "bilinear"])),
        norm=norm,
        norm_groups=groups,
        conv_bias=draw(st.booleans()),
    )


@settings(max_examples=60, deadline=None)
@given(configs(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_the_map_is_a_bijection_bit_for_bit(config, dtype, seed):
    bits = random_bits(config.graph, dtype, seed)
    flax = weight_map.to_flax(config.graph, bits)
    assert len(flax) == len(bits) == len(config.graph.params)
    assert all(array.flags.c_contiguous for array in flax.values())
    assert differing(weight_map.to_pytorch(config.graph, flax), bits) == 0
    entries = weight_map.entries(config.graph)
    assert {e.flax: e.flax_shape for e in entries} == {path: array.shape for path, array in flax.items()}


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(configs(), st.sampled_from(DTYPES), st.integers(0, 2**32 - 1))
def test_both_twins_hold_the_bits_that_they_are_given(config, dtype, seed):
    bits = random_bits(config.graph, dtype, seed)
    ours = jax_weights.tensors(jax_twin(config, bits))
    theirs = torch_weights.tensors(torch_twin(config, ours))
    assert differing(ours, bits) == 0
    assert differing(theirs, bits) == 0


@settings(max_examples=30, deadline=None)
@given(configs(), st.data())
def test_a_missing_an_extra_and_a_misshapen_tensor_are_named(config, data):
    tensors = random_tensors(config.graph, 0)
    name = data.draw(st.sampled_from(sorted(tensors)))
    line = next(e for e in weight_map.entries(config.graph) if e.pytorch == name)
    flax = weight_map.to_flax(config.graph, tensors)
    path = ".".join(line.flax)
    wrong = [
        (weight_map.to_flax, {n: t for n, t in tensors.items() if n != name}, f"1 missing: {name}"),
        (weight_map.to_flax, tensors | {f"{name}2": tensors[name]}, f"1 not part of this network: {name}2"),
        (weight_map.to_flax, tensors | {name: tensors[name][None]}, f"1 with another shape: {name} ("),
        (weight_map.to_pytorch, {p: t for p, t in flax.items() if p != line.flax}, f"1 missing: {path}"),
        (
            weight_map.to_pytorch,
            flax | {(*line.flax, "x"): flax[line.flax]},
            f"not part of this network: {path}.x",
        ),
        (
            weight_map.to_pytorch,
            flax | {line.flax: flax[line.flax][None]},
            f"with another shape: {path} (",
        ),
    ]
    for function, given_tensors, message in wrong:
        with pytest.raises(InputError) as caught:
            function(config.graph, given_tensors)
        assert message in str(caught.value)


AXES = st.permutations(["O", "I", "H", "W"])


@given(AXES, AXES, st.lists(st.booleans(), min_size=8))
def test_a_rearrangement_is_undone_by_the_opposite_one(source, target, signs):
    source = " ".join("-" * s + letter for s, letter in zip(signs[:4], source, strict=False))
    target = " ".join("-" * s + letter for s, letter in zip(signs[4:8], target, strict=False))
    array = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    there = weight_map.rearrange(array, source, target)
    assert np.array_equal(weight_map.rearrange(there, target, source), array)


def test_a_letter_says_where_an_axis_goes_and_a_sign_that_it_is_reversed():
    array = np.arange(24).reshape(2, 3, 4)
    assert np.array_equal(weight_map.rearrange(array, "A B C", "C A B"), array.transpose(2, 0, 1))
    assert np.array_equal(weight_map.rearrange(array, "A B C", "A B -C"), array[:, :, ::-1])
    assert np.array_equal(weight_map.rearrange(array, "-A B C", "A C B"), array[::-1].transpose(0, 2, 1))
