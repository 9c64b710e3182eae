"""The version in pyproject.toml; other files are compared with it."""

from __future__ import annotations

import pytest

from tools.release.version import changes_by_version, read_version
from unet_spec import InputError

from ... import ROOT

LOG = "# Changelog\n\n## [Unreleased]\n\n- new\n\n## [0.2.0] - 2026-01-02\n\n- old\n- older\n"


@pytest.fixture
def root(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[project]\nversion = "0.2.0"\n')
    (tmp_path / "CITATION.cff").write_text("cff-version: 1.2.0\nversion: 0.2.0\n")
    (tmp_path / "CHANGELOG.md").write_text(LOG)
    return tmp_path


def test_the_files_of_this_repository_agree():
    version = read_version(ROOT)
    assert version.number.count(".") == 2
    assert "### Added" in version.changes


def test_the_section_of_the_version(root):
    version = read_version(root)
    assert (version.number, version.changes, version.dated) == ("0.2.0", "- old\n- older", True)
    (root / "CHANGELOG.md").write_text(LOG.replace("[0.2.0]", "[0.1.0]"))
    version = read_version(root)
    assert (version.changes, version.dated) == ("- new", False)


@pytest.mark.parametrize(
    ("file", "old", "new", "message"),
    [
        ("CITATION.cff", "version: 0.2.0", "version: 0.1.0", r"CITATION\.cff has 0\.1\.0, pyproject\.toml 0\.2\.0"),
        ("CITATION.cff", "\nversion: 0.2.0", "", "CITATION.cff has no version"),
        ("pyproject.toml", "0.2.0", "next", "'next' is no version"),
        ("CHANGELOG.md", "[0.2.0]", "0.2.0", None),
    ],
)
def test_what_does_not_agree_is_refused(root, file, old, new, message):
    path = root / file
    path.write_text(path.read_text().replace(old, new))
    if message is None:
        assert not read_version(root).dated  # a heading without brackets is none
        path.write_text("# Changelog\n")
        message = r"no section \[0\.2\.0\] and no \[Unreleased\]"
    with pytest.raises(InputError, match=message):
        read_version(root)


def test_a_file_that_is_missing_is_named(root):
    (root / "CITATION.cff").unlink()
    with pytest.raises(InputError, match=r"cannot read .*CITATION\.cff: No such file"):
        read_version(root)


def test_sections():
    assert list(changes_by_version(LOG)) == ["Unreleased", "0.2.0"]
    assert changes_by_version("nothing\n") == {}
