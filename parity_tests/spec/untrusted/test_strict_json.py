"""JSON that others may have written."""

import json

import pytest

from unet_spec import InputError
from unet_spec.untrusted.strict_json import parse_json, read_json, read_lines, read_object

GOOD = {"widths": [8, 16], "eps": 1e-05, "name": "Zelle\n細胞\t\\", "no": None, "yes": True, "large": 2**64 - 1}


def test_what_json_can_say_arrives(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps(GOOD), encoding="utf-8")
    assert read_json(path) == read_object(path) == GOOD


@pytest.mark.parametrize(
    ("text", "reason"),
    {
        "deep": ("[" * 100_000, "nested deeper than 64"),
        "deep and closed": ("[" * 65 + "]" * 65, "nested deeper than 64"),
        "deep objects": ('{"a":' * 500 + "1" + "}" * 500, "nested deeper than 64"),
        "twice": ('{"a": {"b": 1, "b": 2}}', "'b' occurs twice"),
        "not a number": ("[NaN]", "not finite"),
        "infinity": ("[-Infinity]", "not finite"),
        "huge float": ("[1e999]", "not finite"),
        "huge whole number": ("1" + "0" * 30, "more than 64 bits"),
        "a million digits": ("1" * 1_000_000, "more than 64 bits"),
        "escape code": (r'["\u001b[31m"]', "control character"),
        "C1 code": (r'["\u009b"]', "control character"),
        "new line in a name": (r'{"a\nb": 1}', "control character"),
        "half a character": (r'["\ud800"]', "control character"),
        "no json": ("{", "Expecting"),
        "nothing": ("", "Expecting"),
        "bytes": (b"\xff\xfe", "codec"),
    }.values(),
)
def test_what_is_refused_is_refused_in_a_line(text, reason):
    with pytest.raises(InputError, match=r"config\.json: not valid JSON") as e:
        parse_json(text, "config.json")
    assert reason in str(e.value)
    assert len(str(e.value)) <= 300


def test_nesting_of_64_is_taken():
    assert parse_json("[" * 64 + "]" * 64, "a")


def test_records_of_other_programs_may_hold_infinities():
    assert parse_json("[1e999, NaN]", "a", finite=False)[0] == float("inf")


def test_a_file_beyond_the_limit_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr("unet_spec.untrusted.strict_json.MAX_BYTES", 10)
    path = tmp_path / "a.json"
    path.write_text("[1, 2, 3, 4]")
    with pytest.raises(InputError, match="larger than"):
        read_json(path)
    with pytest.raises(InputError, match="at most"):
        parse_json("[1, 2, 3, 4]", "a")


def test_a_missing_file_and_another_kind_of_document(tmp_path):
    with pytest.raises(InputError, match=r"cannot read .*a\.json: No such file"):
        read_json(tmp_path / "a.json")
    with pytest.raises(InputError, match="cannot read"):
        read_json("a\0.json")
    (tmp_path / "a.json").write_text("[]")
    with pytest.raises(InputError, match="expected a JSON object, not list"):
        read_object(tmp_path / "a.json")


def test_lines_cut_short_are_left_out(tmp_path):
    path = tmp_path / "log.jsonl"
    path.write_bytes(b'{"step": 1}\n{"step": 2, "lo\n\xff\n[3]\n')
    assert list(read_lines(path)) == [(1, {"step": 1}), (4, [3])]
