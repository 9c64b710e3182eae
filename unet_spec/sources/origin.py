"""Content of another project's checkpoint besides the weights, stored so that the file can be written unchanged."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from ..errors import InputError
from ..files import writing
from ..untrusted.strict_json import read_object

FILE = "source.json"


@dataclass(frozen=True)
class Origin:
    """The origin of weights: `source.json` beside a checkpoint's config.json.

    Attributes:
        source: name of the table, such as "nnunet".
        counters: PyTorch's `num_batches_tracked` of each batch norm, by its name in the source.
        absent: copies of tensors, and counters, that the source usually writes but the file did not have.
        extra: other content of the file, as JSON: `mask_values`, nnU-Net's mirroring axes.
    """

    source: str
    counters: Mapping[str, int] = field(default_factory=dict)
    absent: tuple[str, ...] = ()
    extra: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> str:
        """The content of source.json."""
        return json.dumps(asdict(self), indent=2) + "\n"

    def save(self, folder: str | os.PathLike[str]) -> None:
        """Writes source.json into a folder. Raises InputError."""
        with writing(Path(folder) / FILE) as temporary:
            temporary.write_text(self.to_json(), encoding="utf-8")

    @classmethod
    def load(cls, folder: str | os.PathLike[str]) -> Origin | None:
        """Reads source.json from a folder; None if it does not exist. Raises InputError if it is damaged."""
        path = Path(folder) / FILE
        if not path.is_file():
            return None
        try:
            values = read_object(path, finite=False)  # another project's log may contain NaN
            counters = {str(key): int(value) for key, value in values.get("counters", {}).items()}
            return cls(str(values["source"]), counters, tuple(values.get("absent", ())), dict(values.get("extra", {})))
        except InputError:
            raise
        except (ValueError, KeyError, TypeError, AttributeError) as e:
            raise InputError(f"{path}: not a readable record of where the weights come from ({e!r})") from None
