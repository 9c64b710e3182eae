"""Foreign texts on a terminal and in Markdown."""

import pytest

from unet_spec import InputError
from unet_spec.untrusted.text import code, markdown, one_line, visible


@pytest.mark.parametrize("bad", ["\n", "\r", "\x1b[31m", "\x00", "\x9b", "\u202e", "\u2028", "\ud800"])
def test_what_does_not_print_becomes_an_escape(bad):
    for shown in (visible(f"a{bad}b"), one_line(f"a{bad}b"), markdown(f"a{bad}b"), code(f"a{bad}b")):
        assert shown.isprintable()
        assert {"a", "b"} <= set(shown)
        shown.encode()  # a terminal can have it


def test_words_of_every_script_stay():
    assert visible("Zelle, 細胞, क्‍ष, ‌é") == "Zelle, 細胞, क्‍ष, ‌é"


@pytest.mark.parametrize("long", ["x" * 100_000, "\x1b" * 1000, "x" * 299 + "\n\n"])
def test_a_message_has_at_most_300_characters_and_keeps_both_ends(long):
    shown = one_line(f"begin{long}end")
    assert len(shown) <= 300
    assert (shown[:5], shown[-3:]) == ("begin", "end")
    assert " … " in shown


def test_an_input_error_is_one_short_line():
    assert str(InputError("a.png: \x1b[2Jgone\nunet: all is well")) == "a.png: \\x1b[2Jgone\\nunet: all is well"
    assert len(str(InputError("x" * 10_000))) <= 300


def test_markdown_makes_nothing_of_a_name():
    name = "<script>alert(1)</script>\n# Owned\n```\n![x](http://evil/x.png) www.evil.org a@b"
    shown = markdown(name)
    assert not any(bare in shown for bare in ("\n", " <", " ![", "](", "http:", "www.", "a@b"))
    assert shown.startswith("\\<script")


def test_markdown_shows_a_plain_name_as_it_is():
    assert markdown("cell wall, 2nd") == "cell wall, 2nd"
    assert markdown("CC-BY-4.0") == "CC-BY-4.0"


def test_code_cannot_be_left():
    assert code("a` <b>`") == "`a' <b>'`"
