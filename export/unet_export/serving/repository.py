"""The parts of a model repository for NVIDIA Triton: configurations, as protobuf text after Triton's
model_config.proto, and files under a second name."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

FOLDER = "triton"


class Word(str):
    """Written without quotation marks: a value of an enumeration."""


def tensor(name: str, data_type: str, dims: Sequence[int]) -> dict[str, Any]:
    """An input or output of a model; a dimension of -1 is free."""
    return {"name": name, "data_type": Word(data_type), "dims": list(dims)}


def write_model(folder: Path, name: str, config: Mapping[str, Any]) -> Path:
    """Writes the configuration of a model into a repository. Returns the folder of the model's version 1."""
    version = folder / name / "1"
    version.mkdir(parents=True, exist_ok=True)
    text = protobuf_text({"name": name, **config})
    (folder / name / "config.pbtxt").write_text(text + "\n", encoding="utf-8")
    return version


def protobuf_text(fields: Mapping[str, Any], indent: str = "") -> str:
    """Protobuf's text format. A repeated field is a list; one of messages is a list of dicts."""
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
    """The same bytes under a second name; a copy where the file system has no links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
