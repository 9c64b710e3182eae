"""The version of the project, which `pyproject.toml` says, and the other files that repeat it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

from unet_spec import InputError

FORM = re.compile(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?")


@dataclass(frozen=True)
class Version:
    """A version and what the changelog says of it.

    Attributes:
        number: such as "0.1.0".
        changes: the text of its section of CHANGELOG.md; of *Unreleased* where it has none.
        dated: whether it has a section of its own, with a date.
    """

    number: str
    changes: str
    dated: bool


def read_version(root: Path) -> Version:
    """Reads the version, and compares what the other files say.

    Args:
        root: root of the repository.

    Returns:
        The version.

    Raises:
        InputError: CITATION.cff has another version, the changelog has neither a section of it nor *Unreleased*, or the
            number is none.
    """
    number = tomllib.loads(_text(root / "pyproject.toml"))["project"]["version"]
    if not FORM.fullmatch(number):
        raise InputError(f"pyproject.toml: {number!r} is no version; write it as 0.1.0")
    cited = re.search(r"^version: *[\"']?([^\s\"']+)", _text(root / "CITATION.cff"), re.MULTILINE)
    if cited is None or cited[1] != number:
        said = cited[1] if cited else "no version"
        raise InputError(f"CITATION.cff has {said}, pyproject.toml {number}; write {number} into CITATION.cff")
    sections = changes_by_version(_text(root / "CHANGELOG.md"))
    if number in sections:
        return Version(number, sections[number], dated=True)
    if "Unreleased" not in sections:
        raise InputError(f"CHANGELOG.md has no section [{number}] and no [Unreleased]; add one")
    return Version(number, sections["Unreleased"], dated=False)


def changes_by_version(changelog: str) -> dict[str, str]:
    """The sections of a changelog by version, "Unreleased" included.

    Args:
        changelog: text in the form of Keep a Changelog.

    Returns:
        The text of each section without its heading.
    """
    parts = re.split(r"^## \[([^\]]+)\][^\n]*\n", changelog, flags=re.MULTILINE)
    return {name: text.strip() for name, text in zip(parts[1::2], parts[2::2], strict=True)}


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8")
    except OSError as e:
        raise InputError(f"cannot read {path}: {e.strerror or e}") from None
