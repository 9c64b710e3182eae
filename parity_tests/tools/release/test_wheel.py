"""The wheel contains only the repository's files, and is small."""

from __future__ import annotations

import zipfile

import pytest

from tools.release.wheel import PACKAGES, check_wheel
from unet_spec import InputError


@pytest.fixture
def root(tmp_path):
    for folder in PACKAGES.values():
        (tmp_path / folder).mkdir(parents=True)
        (tmp_path / folder / "__init__.py").write_text(f"# {folder}\n")
    return tmp_path


def wheel_of(root, changes=()):
    files = {f"{name}/__init__.py": (root / folder / "__init__.py").read_bytes() for name, folder in PACKAGES.items()}
    files |= {"unet_twins-0.1.0.dist-info/licenses/LICENSE": b"text", **dict(changes)}
    path = root / "unet_twins-0.1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in files.items():
            if content is not None:
                archive.writestr(name, content)
    return path


def test_the_content_is_listed_the_largest_first(root):
    content = check_wheel(wheel_of(root), root)
    lines = content.listing().splitlines()
    assert lines[0].endswith(f"bytes in {len(PACKAGES) + 1} files")
    assert lines[2].split() == [str(len("# export/unet_export\n")), "unet_export/__init__.py"]
    assert content.size == wheel_of(root).stat().st_size


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"benchmarks/x.py": b""}, r"holds benchmarks/x\.py, which is in none of unet_spec"),
        ({"unet_spec/left.py": b""}, r"holds unet_spec/left\.py, and the repository has no"),
        ({"unet_tools/__init__.py": b"# other\n"}, r"unet_tools/__init__\.py is not the repository's"),
        ({"unet_jax/__init__.py": None}, "lacks unet_jax"),
        ({"unet_twins-0.1.0.dist-info/licenses/LICENSE": None}, "holds no LICENSE"),
    ],
)
def test_what_does_not_belong_there_is_refused(root, changes, message):
    with pytest.raises(InputError, match=message):
        check_wheel(wheel_of(root, changes), root)


def test_too_large_a_wheel_names_its_largest_file(root):
    with pytest.raises(InputError, match=r"at most 100; its largest file is unet_export/__init__\.py"):
        check_wheel(wheel_of(root), root, limit=100)
