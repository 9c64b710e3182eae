"""A wheel and a source distribution of files alone, the same bytes each time.

Both are written without compression, so that no version of zlib changes them; weights hardly compress anyway.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import tarfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from unet_spec.files import writing
from unet_spec.weights.installed import GROUP, PACKAGE

MODULE = PACKAGE.replace("-", "_")
_EPOCH = (1980, 1, 1, 0, 0, 0)  # the earliest date of a zip file


@dataclass(frozen=True)
class Package:
    """What both distributions hold.

    Attributes:
        version: such as "0.1.0".
        licence: licence of the weights, an SPDX expression.
        licence_text: licence text of the file LICENSE.
        readme: Markdown.
        networks: by name, a letter and then letters, digits or "_": the files of its checkpoint folder, by file name.
    """

    version: str
    licence: str
    licence_text: str
    readme: str
    networks: Mapping[str, Mapping[str, bytes]]

    @property
    def files(self) -> dict[str, bytes]:
        """Of the module, by path: an empty module, and a folder for each network."""
        files = {f"{MODULE}/__init__.py": b'"""Networks to start with; see unet_spec.find_network."""\n'}
        for network, contents in self.networks.items():
            files |= {f"{MODULE}/{network}/{name}": content for name, content in contents.items()}
        return files

    @property
    def entries(self) -> dict[str, str]:
        return {name: f"{MODULE}:{name}" for name in sorted(self.networks)}

    @property
    def metadata(self) -> bytes:
        lines = [
            "Metadata-Version: 2.4",
            f"Name: {PACKAGE}",
            f"Version: {self.version}",
            f"Summary: {_summary(self.networks)}",
            f"License-Expression: {self.licence}",
            "License-File: LICENSE",
            "Requires-Python: >=3.11",
            "Description-Content-Type: text/markdown",
        ]
        return ("\n".join(lines) + f"\n\n{self.readme}").encode()


def _summary(networks: Mapping[str, object]) -> str:
    return f"Networks to start with, for unet-twins: {', '.join(sorted(networks))}."


def write_wheel(package: Package, folder: Path) -> Path:
    """Writes `unet_weights-VERSION-py3-none-any.whl`; returns its path. Raises InputError if it cannot."""
    info = f"{MODULE}-{package.version}.dist-info"
    entries = "".join(f"{name} = {value}\n" for name, value in package.entries.items())
    files = package.files | {
        f"{info}/METADATA": package.metadata,
        f"{info}/WHEEL": b"Wheel-Version: 1.0\nGenerator: unet-twins\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{info}/entry_points.txt": f"[{GROUP}]\n{entries}".encode(),
        f"{info}/licenses/LICENSE": package.licence_text.encode(),
    }
    lines = [f"{name},sha256={_digest(content)},{len(content)}\n" for name, content in sorted(files.items())]
    files[f"{info}/RECORD"] = "".join([*lines, f"{info}/RECORD,,\n"]).encode()
    path = folder / f"{MODULE}-{package.version}-py3-none-any.whl"
    with writing(path) as temporary, zipfile.ZipFile(temporary, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(files, key=lambda name: (name.startswith(info), name)):  # the dist-info last, as advised
            entry = zipfile.ZipInfo(name, _EPOCH)
            entry.external_attr, entry.create_system = 0o644 << 16, 3
            archive.writestr(entry, files[name])
    return path


def write_sdist(package: Package, folder: Path) -> Path:
    """Writes `unet_weights-VERSION.tar.gz`, of which setuptools builds such a wheel; returns its path. Raises
    InputError where it cannot be written."""
    files = package.files | {
        "PKG-INFO": package.metadata,
        "README.md": package.readme.encode(),
        "LICENSE": package.licence_text.encode(),
        "pyproject.toml": _pyproject(package).encode(),
    }
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, content in sorted(files.items()):
            entry = tarfile.TarInfo(f"{MODULE}-{package.version}/{name}")
            entry.size, entry.mode = len(content), 0o644
            archive.addfile(entry, io.BytesIO(content))
    path = folder / f"{MODULE}-{package.version}.tar.gz"
    with (
        writing(path) as temporary,
        temporary.open("wb") as raw,
        gzip.GzipFile("", "wb", compresslevel=0, fileobj=raw, mtime=0) as out,
    ):
        out.write(buffer.getvalue())
    return path


def _pyproject(package: Package) -> str:
    entries = "".join(f'{name} = "{value}"\n' for name, value in package.entries.items())
    return f"""[build-system]
requires = ["setuptools>=77"]
build-backend = "setuptools.build_meta"

[project]
name = "{PACKAGE}"
version = "{package.version}"
description = "{_summary(package.networks)}"
readme = "README.md"
requires-python = ">=3.11"
license = "{package.licence}"
license-files = ["LICENSE"]

[project.entry-points."{GROUP}"]
{entries}
[tool.setuptools]
packages = ["{MODULE}"]

[tool.setuptools.package-data]
{MODULE} = ["*/*"]
"""


def _digest(content: bytes) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
