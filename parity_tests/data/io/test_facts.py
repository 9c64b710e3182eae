"""What a reader decided, in words: once for a set, with the option that decides otherwise."""

import pytest

from unet_data import FileFacts, ReadSettings
from unet_data.io.facts import summary
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
