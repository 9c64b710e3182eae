"""Triton's own description of a model's configuration."""

from pathlib import Path


def parse(protobuf, path: Path):
    from google.protobuf import text_format

    return text_format.Parse(path.read_text(encoding="utf-8"), protobuf.ModelConfig())
