"""Classes by colour: what the list means, and label pictures of each kind."""

import numpy as np
import pytest
from PIL import Image

from unet_data import ReadSettings, open_dataset, open_stored
from unet_data.io.colours import COLOURS as COLOURS_OF_CLASSES
from unet_data.io.colours import colour, numbers_of_colours, parse_class_colors
from unet_spec import InputError

from .helpers import noise, refused

COLOURS = np.array([[0, 0, 0], [128, 0, 0], [0, 128, 0], [255, 255, 255]], np.uint8)
LISTED = "sky=#000000,car=#800000,tree=#008000,void=#ffffff"
PLACES = np.random.default_rng(0).integers(0, 4, (3, 9, 8))
PLACES[:, 0, :4] = np.arange(4)


def test_lists_of_colours():
    assert parse_class_colors("a=#0000ff, b=#00ff00,a=0000FE") == (("a", (255, 254)), ("b", (65280,)))
    assert parse_class_colors("") == ()
    for text, words in (("#00", "'#00' is not a colour"), ("#000000,#000000", "each colour only once"),
                        ("a=#000000,#000001", "name all classes or none")):  # fmt: skip
        assert words in refused(parse_class_colors, text)
    with pytest.raises(Exception, match="list all classes"):
        ReadSettings(class_colors="#000000")
    with pytest.raises(Exception, match="leave out one of the two"):
        ReadSettings(class_colors="#000000,#ffffff", palette="index")


def test_an_unlisted_colour_is_named_counted_and_placed():
    pixels = COLOURS[PLACES[:1]]
    assert numbers_of_colours(pixels, LISTED, "a.png").tolist() == PLACES[:1].tolist()
    pixels[0, 5, 2:5] = (128, 1, 0)
    pixels[0, 7, 0] = (1, 2, 3)
    message = refused(numbers_of_colours, pixels, LISTED, "a.png")
    assert "a.png: 3 pixels have the colour #800100, which --class-colors does not list" in message
    assert "the first at row 5, column 2, and 1 other" in message
    assert "8-bit" in refused(numbers_of_colours, pixels.astype(np.uint16), LISTED, "a.png")


def saved_rgb(path, places):
    Image.fromarray(COLOURS[places]).save(path)


def saved_rgba(path, places):
    alpha = np.full((*places.shape, 1), 255, np.uint8)
    Image.fromarray(np.concatenate([COLOURS[places], alpha], -1)).save(path)


def saved_palette(path, places):
    """Each file with a palette of its own."""
    order = np.random.default_rng(int(path.stem)).permutation(4)
    image = Image.fromarray(np.argsort(order)[places].astype(np.uint8))
    image.putpalette(COLOURS[order].ravel().tolist())
    image.save(path)


def saved_grey_or_rgb(path, places):
    """The first one has black and white only, and is stored as grey."""
    if path.stem == "0":
        Image.fromarray((places > 2).astype(np.uint8) * 255).save(path)
    else:
        saved_rgb(path, places)


@pytest.mark.parametrize("save", [saved_rgb, saved_rgba, saved_palette, saved_grey_or_rgb])
@pytest.mark.parametrize("opened", [open_dataset, open_stored])
def test_label_pictures_become_classes(save, opened, tmp_path):
    for number, places in enumerate(PLACES):
        for folder in ("images", "labels"):
            (tmp_path / folder).mkdir(exist_ok=True)
        Image.fromarray(noise(9, 8, seed=number)).save(tmp_path / "images" / f"{number}.png")
        save(tmp_path / "labels" / f"{number}.png", places)
    data = opened(tmp_path, ignore=3, settings=ReadSettings(class_colors=LISTED))
    assert data.class_names == ("sky", "car", "tree")
    assert "classes by colour" in data.source
    for number, (label, places) in enumerate(zip(data.labels, PLACES, strict=True)):
        expected = np.where(places == 3, -1, places)
        if save is saved_grey_or_rgb and number == 0:
            expected = np.where(places == 3, -1, 0)
        np.testing.assert_array_equal(np.asarray(label), expected)
    if save is saved_rgb:
        message = refused(opened, tmp_path)
        assert "--class-colors (#000000,…)" in message


def test_colours_are_of_classes(tmp_path):
    for folder in ("images", "labels"):
        (tmp_path / folder).mkdir()
        saved_rgb(tmp_path / folder / "0.png", PLACES[0])
    settings = ReadSettings(class_colors=LISTED)
    assert "not for objects" in refused(open_dataset, tmp_path, 2, "instance", None, settings)
    assert "need class numbers" in refused(open_dataset, tmp_path, 2, "overlapping", None, settings)
    data = open_dataset(tmp_path, 2, "overlapping", None, settings, "any=1-3;tree=2")
    assert data.class_names == ("any", "tree")
    np.testing.assert_array_equal(data.labels[0], (PLACES[0] > 0) + 2 * (PLACES[0] == 2))
    two = open_dataset(tmp_path, settings=settings, class_numbers="0,1,2,3")
    assert two.class_names == ("class 0", "class 1", "class 2", "class 3") or two.class_names[1] == "car"


def test_the_advice_about_colours_can_be_followed():
    with pytest.raises(InputError) as error:
        parse_class_colors("red")
    advice = str(error.value).partition("; write ")[2].split(" or, with names, ")
    assert [len(parse_class_colors(text)) for text in advice] == [2, 2]


def test_the_colours_are_those_of_okabe_and_ito():
    assert [f"{r:02x}{g:02x}{b:02x}" for r, g, b in COLOURS_OF_CLASSES] == [
        "000000", "e69f00", "56b4e9", "009e73", "f0e442", "0072b2", "d55e00", "cc79a7",
    ]  # fmt: skip
    assert [colour(n) for n in (0, 1, 7, 8, 14, 15)] == [COLOURS_OF_CLASSES[n] for n in (0, 1, 7, 1, 7, 1)]


@pytest.mark.parametrize(
    ("shape", "at"),
    [((7,), "the first at 5"), ((6, 7), "the first at row 4, column 5"), ((1, 6, 7), "the first at row 4, column 5"),
     ((3, 6, 7), "the first at page 2, row 4, column 5")],
)  # fmt: skip
def test_the_place_of_an_unlisted_colour(shape, at):
    pixels = np.zeros((*shape, 3), np.uint8)
    place = (2, 4, 5)[-len(shape) :] if shape[0] != 1 else (0, 4, 5)
    pixels[place] = (1, 2, 3)
    message = refused(numbers_of_colours, pixels, LISTED, "a.png")
    assert message.endswith(f"1 pixels have the colour #010203, which --class-colors does not list, {at}")


def test_numbers_beyond_256_classes_need_16_bits():
    for count, dtype in ((256, np.uint8), (257, np.uint16)):
        listed = ",".join(f"#{n:06x}" for n in range(count))
        pixel = np.array([[0, (count - 1) // 256, (count - 1) % 256]], np.uint8)
        found = numbers_of_colours(pixel, listed, "a")
        assert (found.tolist(), found.dtype) == ([count - 1], dtype)


def test_black_and_white_may_be_bits_or_grey():
    two = "#000000,#ffffff"
    assert numbers_of_colours(np.array([[True], [False]]), two, "a").tolist() == [1, 0]
    assert numbers_of_colours(np.array([[255], [0]], np.uint8), two, "a").tolist() == [1, 0]
    assert "has 2 channel(s) of uint8" in refused(numbers_of_colours, np.zeros((4, 2), np.uint8), two, "a")
