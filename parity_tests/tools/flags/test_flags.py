"""Every flag has its effect, and nothing else changes."""

import pytest

from unet_tools.cli import COMMANDS

from ... import ROOT
from . import checking, reading, training, writing
from .arrivals import Command, arrivals, difference, flags_in_help

TABLES = {
    command.words: command
    for module in (reading, checking, writing, training)
    for command in vars(module).values()
    if isinstance(command, Command)
}
ROWS = [pytest.param(name, flag, id=f"{name} {flag}") for name, command in TABLES.items() for flag in command.rows]


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    """Empty folders for the networks in the command lines; a name without a folder would be searched among installed
    networks."""
    monkeypatch.chdir(tmp_path)
    for name in ("FOLDER", "A", "B", "MODEL", "OTHER"):
        (tmp_path / name).mkdir()


@pytest.mark.parametrize(("name", "flag"), ROWS)
def test_a_flag_arrives_and_changes_nothing_else(name, flag):
    command = TABLES[name]
    assert difference(command, flag) == command.rows[flag][1]


@pytest.mark.parametrize("name", TABLES)
def test_what_arrives_without_flags(name):
    found = arrivals(TABLES[name], "")
    assert {key: found.get(key) for key in TABLES[name].base} == TABLES[name].base


@pytest.mark.parametrize("name", COMMANDS)
def test_every_flag_has_a_row(name, capsys):
    tables = [command for words, command in TABLES.items() if words.split()[0] == name]
    elsewhere = {flag: file for command in tables for flag, file in command.elsewhere.items()}
    known = {flag for command in tables for flag in command.rows} | set(elsewhere)
    assert flags_in_help(name, capsys) == {flag.replace("--no-", "--") for flag in known}
    for flag, file in elsewhere.items():
        text = (ROOT / "parity_tests" / file).read_text()
        assert flag in text or flag[2:].replace("-", "_") in text, (flag, file)
