"""Writes parts of a model repository for NVIDIA Triton: configurations in protobuf text format (Triton's
model_config.proto), and linked files."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_spec.files import replacing_folder

FOLDER = "triton"
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,99}")


def checked_name(name: str) -> str:
    """Checks the name of a network in a repository. Raises InputError if it cannot be the name of a folder."""
    if not _NAME.fullmatch(name):
        raise InputError(
            f"the name {name!r} cannot be a model's: letters, digits, _ . and -, at most 100, no - _ . first"
        )
    return name


def check_free(repository: Path, names: Iterable[str]) -> None:
    """Raises InputError if the repository has a model of one of these names, or is not a folder."""
    if repository.exists() and not repository.is_dir():
        raise InputError(f"{repository} is a file; a model repository is a folder")
    if taken := next((name for name in names if (repository / name).exists()), None):
        raise InputError(f"{repository} has a model {taken} already; give another --name, or move that model away")


def add_models(source: Path, repository: Path) -> list[str]:
    """Adds the models of one repository to another one, which may contain other networks.

    Model files are hard-linked if the file system supports it; configurations are copied, since users edit them. Each
    model is added atomically, and ensembles are added last.

    Args:
        source: a repository, such as `bundle/triton`.
        repository: a folder, created if missing.

    Returns:
        The names of the models.

    Raises:
        InputError: the repository already has a model of one of these names; nothing is added.
    """
    names = sorted((path.name for path in source.iterdir()), key=lambda name: (_rank(source / name), name))
    check_free(repository, names)
    for name in names:
        with replacing_folder(repository / name, lambda path: check_free(path.parent, [path.name])) as new:
            shutil.copytree(source / name, new, copy_function=_linked, dirs_exist_ok=True)
    return names


def _rank(model: Path) -> int:
    """The order in which models are added: an ensemble names any others, a model in Python may name networks."""
    text = (model / "config.pbtxt").read_text(encoding="utf-8")
    return 2 if 'platform: "ensemble"' in text else 1 if 'backend: "python"' in text else 0


def _linked(source: str, target: str) -> None:
    if Path(source).name in ("model.onnx", "model.plan"):
        place(source, target)
    else:
        shutil.copyfile(source, target)


class Word(str):
    """A value of an enumeration, which is written without quotation marks."""


def tensor(name: str, data_type: str, dims: Sequence[int]) -> dict[str, Any]:
    """An input or output of a model; a dimension of -1 is dynamic."""
    return {"name": name, "data_type": Word(data_type), "dims": list(dims)}


def write_model(folder: Path, name: str, config: Mapping[str, Any]) -> Path:
    """Writes the configuration of a model into a repository. Returns the folder of the model's version 1."""
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    text = protobuf_text({"name": name, **config})
    (folder / name / "config.pbtxt").write_text(text + "\n", encoding="utf-8")
    return version


def protobuf_text(fields: Mapping[str, Any], indent: str = "") -> str:
    """Protobuf's text format. A repeated field is a list; a repeated message is a list of dicts."""
    lines: list[str] = []
    for key, value in fields.items():
        messages = value if isinstance(value, list) and value and isinstance(value[0], dict) else [value]
        for message in messages:
            if isinstance(message, dict):
                lines += [f"{indent}{key} {{", protobuf_text(message, indent + "  "), f"{indent}}}"]
            else:
                lines.append(f"{indent}{key}: {_scalar(message)}")
    return "\n".join(lines)


def _scalar(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(map(_scalar, value))}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    return f'"{value}"' if isinstance(value, str) and not isinstance(value, Word) else str(value)


def place(source: str | Path, target: str | Path) -> None:
    """Hard-links a file, or copies it if the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
