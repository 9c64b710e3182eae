"""Tensors that are missing, extra or with another shape are named."""

import numpy as np
import pytest

from unet_spec import InputError, preset, random_tensors
from unet_spec.weights.check import all_finite, check_finite, check_tensors, differences, first_few, listed

GRAPH = preset("paper", widths=(2, 4)).graph


def test_exactly_the_tensors_of_the_graph_pass():
    check_tensors(GRAPH, random_tensors(GRAPH, 0), "here")


def test_each_kind_of_difference_is_named_with_its_place():
    tensors = random_tensors(GRAPH, 0)
    del tensors["head.bias"]
    tensors |= {"extra": np.zeros(1), "head.weight": np.zeros((1, 2))}
    with pytest.raises(InputError) as caught:
        check_tensors(GRAPH, tensors, "a.safetensors")
    message = str(caught.value)
    assert message.startswith("a.safetensors: the tensors do not match the config; 1 missing: head.bias; ")
    assert "1 not part of this network: extra" in message
    assert "head.weight (1, 2), not (2, 2, 1, 1)" in message


def test_parts_of_a_path_are_joined_by_dots():
    found = differences({("a", "b"): (1,)}, {("a", "c"): np.zeros(1)})
    assert found == {"missing": ["a.b"], "not part of this network": ["a.c"], "with another shape": []}
    assert listed(found) == ["1 missing: a.b", "1 not part of this network: a.c"]


@pytest.mark.parametrize(("names", "text"), [("", ""), ("abc", "a, b, c"), ("abcdef", "a, b, c and 3 more")])
def test_only_the_first_few_names_are_given(names, text):
    assert first_few(names) == text


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64", "bfloat16"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_weight_that_is_not_finite_is_named(dtype, bad):
    ml_dtypes = pytest.importorskip("ml_dtypes")
    dtype = np.dtype(getattr(ml_dtypes, dtype, None) or dtype)
    tensors = {"a": np.ones(3, dtype), "empty": np.zeros(0, dtype), "count": np.arange(3)}
    check_finite(tensors, "here")
    with pytest.raises(InputError, match=r"here: b contains NaN or infinite values \(1 of 3\)"):
        check_finite(tensors | {"b": np.array([0, bad, 1]).astype(dtype)}, "here")


def test_finite_values_whose_sum_overflows_are_finite():
    assert all_finite(np.full(9, 3e38, np.float32))
    assert not all_finite(np.array([np.inf, -np.inf], np.float32))
