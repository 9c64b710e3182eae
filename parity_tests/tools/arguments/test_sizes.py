"""Sizes as flags: one number, or one per axis, in one word, so that the images may follow."""

import pytest

from unet_tools.arguments.sizes import size_of, text_of
from unet_tools.cli import main


@pytest.mark.parametrize(("text", "size"), [("92", 92), ("0", 0), ("20x128x128", (20, 128, 128)), ("None", None)])
def test_a_size_is_one_word(text, size):
    assert size_of(text) == size
    assert text_of(size) == text


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("20x", "'20x' is no size; give one number for all axes, or one per axis as in 20x128x128"),
        ("20 x 30", "'20 x 30' is no size"),
        ("1e3", "'1e3' is no size"),
        ("20x-4", "tile is (20, -4); it must be one number or one per axis, each above 0"),
        ("20x0x9", "each above 0"),
    ],
)
def test_what_is_no_size_is_refused_in_one_line(text, words, capsys):
    assert main(["train", "--tile", text, "images", "--out", "run"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert words in line


def test_a_size_of_other_axes_is_refused_before_training(tmp_path, capsys):
    flags = ["--tile", "20x28", "--spatial-dims", "3", "--preset", "same", "--widths", "2", "4", "--recipe", "none"]
    assert main(["train", *flags, "synthetic", "--steps", "2", "--out", str(tmp_path / "run")]) == 2
    assert "tile is (20, 28); this network has 3 axes: give one number, or one per axis" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()
