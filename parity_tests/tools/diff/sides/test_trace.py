"""The calls of a network as a tree, and the leaves of nested values."""

from __future__ import annotations

from typing import NamedTuple

import pytest

from unet_spec import InputError
from unet_tools.diff.sides.trace import Call, Counter, Feed, Side, ancestors, leaves, replace, within


def trace(**parents):
    """Calls by key with the key of their parent, in the order of their start."""
    return {
        key: Call(key, key, None if parent == "" else parent, "Layer", [], {}, {}, 0.0, start, start + 1)
        for start, (key, parent) in enumerate(parents.items())
    }


TREE = trace(net="", block="net", conv="block", norm="block", inner="norm", head="net")


def test_the_calls_around_a_call_from_the_inside_out():
    assert list(ancestors(TREE, "inner")) == ["norm", "block", "net"]
    assert list(ancestors(TREE, "net")) == []


def test_the_calls_within_a_call_down_to_those_that_are_compared_themselves():
    assert within(TREE, "net", set()) == ["block", "conv", "norm", "inner", "head"]
    assert within(TREE, "net", {"block"}) == ["block", "head"]
    assert within(TREE, "block", {"norm"}) == ["conv", "norm"]
    assert within(TREE, "block", {"net", "block"}) == ["conv", "norm", "inner"]  # those around it stop nothing
    assert within(TREE, "head", set()) == []
    late = {**TREE, "first": Call("first", "first", "net", "Layer", [], {}, {}, 0.0, -1, 0)}
    assert within(late, "net", {"block"}) == ["first", "block", "head"]


def test_the_calls_of_a_module_are_numbered_from_the_second():
    counter = Counter()
    assert [counter(path) for path in ("a", "b", "a", "a", "b")] == ["a", "b", "a#2", "a#3", "b#2"]


class Pair(NamedTuple):
    x: int
    y: int


VALUE = {"b": [1, (2, 3)], "a": Pair(4, 5), 1: 6}


def test_leaves_have_labels_in_one_order_and_trees_keep_theirs():
    labels = {"[1]": 6, "['a'][0]": 4, "['a'][1]": 5, "['b'][0]": 1, "['b'][1][0]": 2, "['b'][1][1]": 3}
    assert list(leaves(VALUE)) == list(labels.items())
    assert list(leaves(7)) == [("", 7)]
    seen = []
    found = replace(VALUE, lambda label, leaf: seen.append(label) or 10 * leaf)
    assert seen == list(labels)
    assert found == {"b": [10, (20, 30)], "a": Pair(40, 50), 1: 60}
    assert list(found) == ["b", "a", 1]
    assert isinstance(found["a"], Pair)


def test_a_side_without_gradients_says_which_have_them():
    class Plain(Side):
        name = "onnx"

        def record(self, inputs):
            return {}

        def run(self, key, feed):
            return {}

    side = Plain()
    assert (side.flat, side.differentiable) == (False, False)
    for call in (lambda: side.differentiate({}), lambda: side.pull_back("", Feed([], {}))):
        with pytest.raises(InputError, match="onnx has no backward pass; compare jax with torch"):
            call()
