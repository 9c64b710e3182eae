"""Building engines: one module for `tensorrt` (10, 11) and `tensorrt_rtx`, whose interfaces are nearly the same.

What differs: TensorRT for RTX builds on a machine without a GPU, for the compute capabilities that it is told;
TensorRT builds on the GPU, for that GPU. Both are given strongly typed networks, so the precision is the ONNX model's.
"""

from __future__ import annotations

import hashlib
import importlib.util
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from unet_spec import InputError
from unet_spec.checkpoint import replacing

from .onnx_check import config_of, read_onnx
from .tensorrt_build import ENGINE, MODEL, RESULT, wrong_types
from .tensorrt_profile import Profile

BACKENDS = ("tensorrt_rtx", "tensorrt")
RTX_CAPABILITIES = ("75", "80", "86", "89", "120", "121")
"""What TensorRT for RTX builds for: Turing to Blackwell, without Hopper (90)."""
DEFAULT_CAPABILITIES = ("80", "86", "89", "120", "121")
"""Without Turing: it lacks what all the others have, and an engine for several must do with what all have."""

_TYPES = {"float32": "FLOAT"}  # ours to TensorRT's; further precisions come as further ONNX models
_CHILD = (sys.executable, "-P", "-m", "unet_export.tensorrt_build")  # -P: never import from the current folder


@dataclass(frozen=True)
class EngineRecord:
    """What was built, as far as it can be known without running it.

    Attributes:
        file: name of the engine's file.
        backend, version: the library that built it; an engine runs on that version only.
        compute_capabilities: the GPUs that it is for, such as "89"; empty: the GPU that it was built on.
        precision: of weights and activations, checked against every layer of the network that the builder was given.
        tf32: whether float32 products may be rounded to ten bits.
        reproducible: built at fixed addresses, so that on the same machine, in the same environment, another build from
            the same model gives the same bytes.
        profile: the sizes that it is for.
        layer_types: outputs of layers per TensorRT dtype; integers are sizes.
        bytes, seconds, sha256: of the file; of the build alone; of the file's content.
    """

    file: str
    backend: str
    version: str
    compute_capabilities: tuple[str, ...]
    precision: str
    tf32: bool
    reproducible: bool
    profile: Profile
    layer_types: dict[str, int]
    bytes: int
    seconds: float
    sha256: str

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, but for `seconds`, which no two builds share."""
        return {key: value for key, value in asdict(self).items() if key != "seconds"}

    @classmethod
    def from_dict(cls, values: Any, where: str) -> EngineRecord:
        """The inverse of `to_dict`. Raises InputError."""
        try:
            profile = Profile(**{key: tuple(shape) for key, shape in values["profile"].items()})
            capabilities = tuple(values["compute_capabilities"])
            changes = {"profile": profile, "compute_capabilities": capabilities, "seconds": 0.0}
            return cls(**{**values, **changes})
        except (TypeError, KeyError, AttributeError) as e:
            raise InputError(f"{where}: not the record of an engine ({type(e).__name__}: {e})") from None


def available_backends() -> tuple[str, ...]:
    """Those of BACKENDS that are installed. Nothing is imported."""
    return tuple(name for name in BACKENDS if importlib.util.find_spec(name) is not None)


def engine_name(backend: str, version: str, compute_capabilities: tuple[str, ...], precision: str) -> str:
    """Such as "tensorrt_rtx-1.7.1.116-sm80+86+89-float32.plan"."""
    target = "sm" + "+".join(compute_capabilities) if compute_capabilities else "native"
    return f"{backend}-{version}-{target}-{precision}.plan"


def build_engine(
    onnx: bytes | str | os.PathLike[str],
    out_path: str | os.PathLike[str],
    *,
    profile: Profile,
    backend: str | None = None,
    compute_capabilities: tuple[str, ...] | None = None,
    workspace: int | None = None,
    tf32: bool = False,
) -> EngineRecord:
    """Builds an engine from a model of `emit_onnx`, in a process of its own, and writes it: wholly or not at all.

    backend: None takes the first of BACKENDS that is installed. compute_capabilities: tensorrt_rtx only; None takes
    DEFAULT_CAPABILITIES. workspace: bytes that a kernel may use; None leaves it to the builder.

    The dtypes of the parsed, strongly typed network are read back and must be the model's. That the engine loads and
    gives the right numbers cannot be shown without a GPU of the right kind.

    Raises InputError: a model that does not check, a profile off the network's grid, a backend that is not installed, a
    capability that it does not know, a layer of another dtype, any error of the builder, and a crash of it.
    """
    content, model, where = read_onnx(onnx)
    profile.check(config_of(model, where))
    backend = _backend(backend)
    capabilities = _capabilities(backend, compute_capabilities)
    precision = "float32"
    if not Path(out_path).absolute().parent.is_dir():
        raise InputError(f"cannot write {out_path}: there is no folder {Path(out_path).parent}")
    if workspace is not None and workspace < 1:
        raise InputError(f"workspace is {workspace} bytes; it must be at least 1")
    job = {
        "backend": backend,
        "profile": asdict(profile),
        "compute_capabilities": capabilities,
        "workspace": workspace,
        "tf32": tf32,
    }
    built, plan = _run_child(job, content, f"cannot build {Path(out_path).name} with {backend}")
    types = Counter(built["layer_types"]) + Counter((built["input_type"], built["output_type"]))
    if wrong := wrong_types(types, _TYPES[precision]):
        raise InputError(f"{backend} built {wrong} where {precision} was asked; no engine was written")
    if built["tf32"] != tf32:
        raise InputError(f"{backend} built with TF32 {built['tf32']}, asked was {tf32}; no engine was written")
    try:
        with replacing(Path(out_path)) as temporary:
            temporary.write_bytes(plan)
    except OSError as e:
        raise InputError(f"cannot write {out_path}: {e.strerror or e}") from None
    return EngineRecord(
        file=Path(out_path).name,
        backend=backend,
        version=built["version"],
        compute_capabilities=capabilities,
        precision=precision,
        tf32=tf32,
        reproducible=built["reproducible"],
        profile=profile,
        layer_types=built["layer_types"],
        bytes=len(plan),
        seconds=built["seconds"],
        sha256=hashlib.sha256(plan).hexdigest(),
    )


def _backend(name: str | None) -> str:
    available = available_backends()
    if name is None:
        if not available:
            raise InputError("no TensorRT is installed; pip install 'unet-twins[tensorrt-rtx]'")
        return available[0]
    if name not in BACKENDS:
        raise InputError(f"unknown backend {name!r}; there are {', '.join(BACKENDS)}")
    if name not in available:
        raise InputError(f"{name} is not installed; pip install 'unet-twins[{name.replace('_', '-')}]'")
    return name


def _capabilities(backend: str, wanted: tuple[str, ...] | None) -> tuple[str, ...]:
    if backend != "tensorrt_rtx":
        if wanted:
            raise InputError(f"{backend} builds for the GPU at hand; compute capabilities are for tensorrt_rtx only")
        return ()
    wanted = DEFAULT_CAPABILITIES if wanted is None else tuple(wanted)
    if not wanted or (unknown := [c for c in wanted if c not in RTX_CAPABILITIES]):
        what = f"unknown compute capabilities {unknown}" if wanted else "no compute capability given"
        raise InputError(f"{what}; TensorRT for RTX builds for {', '.join(RTX_CAPABILITIES)}")
    return tuple(sorted(set(wanted), key=int))


def _run_child(job: dict[str, Any], onnx: bytes, what: str) -> tuple[dict[str, Any], bytes]:
    """The child's result and the engine. Raises InputError where it reports an error, and where it dies.

    For equal bytes, the child's memory must be laid out alike: so no path and no random seed enters it.
    """
    environment = os.environ | {"PYTHONHASHSEED": "0"}
    if "PYTHONPATH" in environment:  # it may be relative to the folder that the child leaves
        places = environment["PYTHONPATH"].split(os.pathsep)
        environment["PYTHONPATH"] = os.pathsep.join(os.path.abspath(place) for place in places if place)
    with tempfile.TemporaryDirectory(prefix="unet-engine-") as name:
        folder = Path(name)
        (folder / MODEL).write_bytes(onnx)
        child = subprocess.run(
            _CHILD,
            input=json.dumps(job),
            capture_output=True,
            text=True,
            errors="replace",
            env=environment,
            cwd=folder,
            check=False,
        )
        if child.returncode or not (folder / RESULT).is_file():
            last = child.stderr.strip().splitlines()[-1:] or ["it said nothing"]
            raise InputError(f"{what}: the builder's process {_ending(child.returncode)}; last words: {last[0][:300]}")
        built = json.loads((folder / RESULT).read_text())
        if "error" in built:
            raise InputError(f"{what}: {built['error']}")
        return built, (folder / ENGINE).read_bytes()


def _ending(code: int) -> str:
    if code < 0:
        try:
            return f"crashed ({signal.Signals(-code).name})"
        except ValueError:
            return f"crashed (signal {-code})"
    return f"ended with exit code {code}"
