"""The exceptions that a user is meant to read, and the exit codes that they end with."""

import pytest

from unet_spec import InputError
from unet_spec.errors import OutputError, suggestion
from unet_tools import cli
from unet_tools.commands import info


@pytest.mark.parametrize(("error", "code"), [(InputError, 2), (OutputError, 1)])
def test_the_command_prints_one_line_and_ends_with_the_code_of_the_error(error, code, monkeypatch, capsys):
    def fail(args):
        raise error("a.png: \x1b[2J" + "x" * 1000 + "\nunet: all is well")

    monkeypatch.setattr(info, "run", fail)
    assert cli.main(["info"]) == code
    printed = capsys.readouterr().err
    assert printed.startswith(r"unet: a.png: \x1b[2Jxxx")
    assert printed.endswith("x\\nunet: all is well\n")
    assert len(printed.strip()) <= 300


def test_a_name_that_is_nearly_right_is_suggested():
    assert suggestion("papre", ["paper", "same"]) == "; did you mean 'paper'?"
    assert suggestion("zzz", ["paper", "same"]) == ""
