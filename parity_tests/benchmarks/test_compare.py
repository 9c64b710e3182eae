"""Two commits beside each other."""

import subprocess

import pytest

from benchmarks.compare import MEASURES, ROOT, Args, compare, main
from unet_spec import InputError


def test_ratios_are_of_one_round_and_slower_is_slower_in_every_round():
    clock = {"a": iter([1.0, 2.0, 4.0]), "b": iter([1.2, 2.2, 4.8])}
    order = []

    def seconds(name, side):
        order.append(side)
        return next(clock[side])

    (line,) = compare(Args("x", "y", ("unet --help",), 3, 1.05), seconds)
    assert "".join(order) == "abbaab"
    assert (line["ratio"], line["least"], line["slower"]) == (pytest.approx(1.2), pytest.approx(1.1), True)
    clock = {"a": iter([1.0, 1.0]), "b": iter([3.0, 1.0])}
    (line,) = compare(Args("x", "y", ("unet --help",), 2), seconds)
    assert not line["slower"]


def test_what_is_unknown_is_one_line():
    with pytest.raises(InputError, match="unknown measure 'speed'; there are import unet_jax"):
        main(Args("HEAD", "HEAD", ("speed",)))
    with pytest.raises(InputError, match="git does not know the commit no-such-commit"):
        main(Args("no-such-commit", "HEAD", ("unet --help",)))


@pytest.mark.slow
def test_a_commit_beside_itself(capsys):
    if subprocess.run(["git", "rev-parse", "HEAD"], cwd=ROOT, capture_output=True, check=False).returncode:
        pytest.skip("not a clone")
    assert main(Args("HEAD", "HEAD", ("unet --help", "unet predict, JAX"), rounds=1, limit=10)) == 0
    assert "unet predict, JAX" in capsys.readouterr().out
    assert len(MEASURES) == 7
