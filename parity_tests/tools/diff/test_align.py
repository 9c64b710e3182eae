"""Which calls of two networks are compared: by path, by order, by given names."""

import numpy as np
import pytest

from unet_spec import InputError
from unet_tools.diff.align import align
from unet_tools.diff.sides.trace import Call, Trace

TITLES = ("torch", "nnx")


def trace(*paths, shapes=None, inputs=None, labels=None, parents=None) -> Trace:
    """Calls in this order, each within the nearest call whose path it begins with. shapes, inputs, labels, parents: of
    some paths."""
    calls, seen = {}, {}
    for at, path in enumerate(("", *paths), start=1):
        seen[path] = seen.get(path, 0) + 1
        key = path if seen[path] == 1 else f"{path}#{seen[path]}"
        above = [p for p in ("", *paths) if p != path and (not p or path.startswith(f"{p}."))]
        parent = (parents or {}).get(path, max(above, key=len)) if path else None
        outputs = {label: np.zeros((shapes or {}).get(path, (1, at))) for label in (labels or {}).get(path, ("",))}
        given = [np.zeros(1)] * (inputs or {}).get(path, 1)
        calls[key] = Call(key, path, parent, "Layer", given, outputs, {}, 0.0, at, 100 - at)
    return calls


def test_calls_of_one_path_are_a_pair_and_the_others_stay_alone():
    found = align(trace("a", "a.conv", "b", "only"), trace("a", "a.conv", "other", "b"), None, TITLES)
    assert found.pairs == {"": "", "a": "a", "a.conv": "a.conv", "b": "b"}
    assert found.unpaired() == (["only"], ["other"])
    assert found.children("") == ["a", "b"]
    assert found.children("a") == ["a.conv"]
    assert found.notes == []


def test_several_calls_of_a_module_are_paired_in_their_order():
    found = align(trace("a", "a", "a"), trace("a", "a"), None, TITLES)
    assert found.pairs == {"": "", "a": "a", "a#2": "a#2"}
    assert found.unpaired() == (["a#3"], [])


def test_the_longest_name_that_is_given_decides():
    a, b = trace("net", "net.x", "net.x.y", "netto"), trace("u", "u.p", "u.p.y", "netto")
    found = align(a, b, {"net": "u", "net.x": "u.p"}, TITLES)
    assert found.pairs == {"": "", "net": "u", "net.x": "u.p", "net.x.y": "u.p.y", "netto": "netto"}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        ({"conv": "a"}, "names: torch calls no module 'conv'; near it: 'conv1'"),
        ({"conv1": "head"}, "names: nnx calls no module 'head'; near it: 'a', 'b', 'c', 'd', 'e'"),
        ({"con": "a"}, "torch calls no module 'con'"),
    ],
)
def test_a_name_of_no_module_is_refused_with_those_that_are_near(names, words):
    with pytest.raises(InputError) as caught:
        align(trace("conv1"), trace("a", "b", "c", "d", "e", "f"), names, TITLES)
    assert words in str(caught.value)


def test_a_name_may_be_that_of_a_folder_of_modules():
    found = align(trace("enc.0", "enc.1"), trace("down.0", "down.1"), {"enc": "down"}, TITLES)
    assert found.pairs == {"": "", "enc.0": "down.0", "enc.1": "down.1"}


def test_calls_that_differ_in_their_arrays_or_in_their_caller_are_noted():
    a = trace("a", "b", "c", "d", inputs={"b": 2}, labels={"c": ("",)})
    b = trace("a", "b", "c", "d", labels={"c": ("[0]", "[1]")}, parents={"d": "a"})
    found = align(a, b, None, TITLES)
    assert found.pairs == {"": "", "a": "a"}
    assert found.notes == [
        "b is not compared on its own: its inputs are 2 arrays in torch, 1 in nnx",
        "c is not compared on its own: its outputs are an array and [0], [1]",
        "d is not compared: it is called from different modules in the two networks",
    ]
    none = align(trace("a", "c", labels={"c": ()}), trace("a", "c"), None, TITLES)
    assert none.notes == ["c is not compared on its own: its outputs are no arrays and an array"]


def test_without_a_pair_the_layers_are_listed_and_pairs_are_proposed_by_order_and_shape():
    shapes = {"a.conv": (1, 8), "b": (1, 4), "c": (1, 2), "d": (1, 1), "e": (1, 3)}
    other = {"p": (1, 8), "q": (1, 9), "r": (1, 2), "s": (1, 4)}
    a, b = trace("a", "a.conv", "b", "c", "d", "e", "e", shapes=shapes), trace("p", "q", "r", "s", shapes=other)
    with pytest.raises(InputError) as caught:
        align(a, b, None, TITLES)
    assert str(caught.value) == (
        "no module has the same path on both sides: torch has a.conv, b, c, d, ...; nnx has p, q, r, s. "
        "Give names={path: path}; by order and shape of outputs it might be names={'a.conv': 'p', 'b': 's'}"
    )
    with pytest.raises(InputError) as caught:
        align(trace("a", shapes={"a": (3,)}), trace("a", inputs={"a": 3}), None, TITLES)
    assert "both sides (a is not compared on its own: its inputs are 1 arrays in torch, 3 in nnx): torch" in str(
        caught.value
    )
    assert "might be" not in str(caught.value)


def test_a_network_without_modules_is_compared_as_a_whole():
    assert align(trace(), trace("a"), None, TITLES).pairs == {"": ""}
    assert align(trace("a"), trace(), None, TITLES).pairs == {"": ""}
