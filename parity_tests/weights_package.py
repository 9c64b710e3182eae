"""An installed package with networks, as pip writes it: the files, and a dist-info with entry points and checksums."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from unet_spec import Checkpoint


def install(site: Path, networks: Mapping[str, Checkpoint], name: str = "tiny-weights", version: str = "1.2") -> Path:
    """Writes the package into `site`, for sys.path. Returns its folder, which has one checkpoint per network."""
    package, info = site / name.replace("-", "_"), site / f"{name.replace('-', '_')}-{version}.dist-info"
    package.mkdir(parents=True)
    info.mkdir()
    (package / "__init__.py").write_text("raise RuntimeError('nothing of a package of weights is run')\n")
    for network, checkpoint in networks.items():
        checkpoint.save(package / network.replace("-", "_"))
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    offered = "".join(f"{network} = {package.name}:{network.replace('-', '_')}\n" for network in networks)
    (info / "entry_points.txt").write_text(f"[unet_twins.weights]\n{offered}")
    lines = []
    for file in sorted(f for f in [*package.rglob("*"), *info.rglob("*")] if f.is_file()):
        content = file.read_bytes()
        digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
        lines.append(f"{file.relative_to(site).as_posix()},sha256={digest},{len(content)}\n")
    (info / "RECORD").write_text("".join([*lines, f"{info.name}/RECORD,,\n"]))
    return package
