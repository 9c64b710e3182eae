"""What a reader decided, in words: once for a set, with the option that decides otherwise."""

import pytest

from unet_data import FileFacts, ReadSettings
from unet_data.io.facts import summary, with_pixel_size
from unet_spec import InputError


def test_each_decision_is_counted_once_for_the_set():
    facts = [FileFacts(alpha="dropped", white_is_zero="inverted")] * 2 + [FileFacts()]
    assert summary(facts, "image") == [
        "alpha dropped: 2 of 3 images; --channels all keeps it",
        "white is zero: inverted: 2 of 3 images; --white-is-zero stored keeps the stored numbers",
    ]


def test_every_option_that_a_line_names_exists():
    facts = [
        FileFacts(alpha="dropped"),
        FileFacts(alpha="kept"),
        FileFacts(orientation=6),
        FileFacts(orientation=6, turned=True),
        FileFacts(white_is_zero="inverted"),
        FileFacts(white_is_zero="stored"),
        FileFacts(palette="colour"),
    ]
    for line in summary(facts, "image"):
        flag, value = line.split("; --")[1].split()[:2]
        ReadSettings(**{flag.replace("-", "_"): value})
    assert len(summary(facts, "image")) == len(facts)


def test_settings_that_are_not_known_are_refused():
    with pytest.raises(InputError, match="orientation is 'exif'; it must be apply or ignore"):
        ReadSettings(orientation="exif")


def test_a_pixel_size_that_is_no_length_is_refused():
    with pytest.raises(InputError, match="pixel_size is '5'"):
        ReadSettings(pixel_size="5")


@pytest.mark.parametrize("name", ["pixel_size", "axes", "class_colors"])
def test_settings_that_are_no_text_are_refused(name):
    with pytest.raises(InputError, match=f"{name} is 5; it must be text"):
        ReadSettings(**{name: 5})


@pytest.mark.parametrize(
    ("stated", "text", "size"),
    [
        (None, "", None),
        (None, "5,1,2 mm", (5, 1, 2)),
        (None, "0.5 mm", (0.5, 0.5, 0.5)),
        (None, "2,3 mm", (2, 3)),
        ((4, 6), "5,1,2 mm", (5, 1, 2)),  # a stack whose file states no distance of its planes
        ((4, 6), "2,3 mm", (4, 6)),
        ((4, 6), "2 mm", (4, 6)),
        ((7, 4, 6), "5,1,2 mm", (7, 4, 6)),
    ],
)
def test_a_given_pixel_size_is_that_of_files_that_state_none(stated, text, size):
    before = FileFacts(spacing=stated, unit="nm" if stated else "", read_as=("something",))
    found = with_pixel_size(before, text)
    assert found.spacing == size
    if found.spacing == stated:
        assert found is before
    else:
        assert found.unit == "mm"
        assert found.read_as == ("something", f"pixel size taken as {text}")
