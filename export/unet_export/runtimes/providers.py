"""ONNX Runtime's execution providers: which are installed, their options, and a session that runs on the one asked for.

A package of ONNX Runtime holds some of them, and only one such package fits into an environment. Run here: cpu (every
test) and openvino (by hand). The others follow ONNX Runtime's documentation and have not run: `preflight` measures.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unet_spec import InputError


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Attributes:
        name: ONNX Runtime's name of it.
        package: What to install instead of onnxruntime.
        options: Those that let it compute in float32, where its default is less.
    """

    name: str
    package: str
    options: dict[str, str] = field(default_factory=dict)


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "onnxruntime"),
    # TF32 keeps ten bits of each factor: float32 in name only.
    "cuda": Provider("CUDAExecutionProvider", "onnxruntime-gpu", {"use_tf32": "0"}),
    "tensorrt": Provider("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "tensorrt-rtx": Provider("NvTensorRTRTXExecutionProvider", "onnxruntime-trt-rtx"),
    "openvino": Provider("OpenVINOExecutionProvider", "onnxruntime-openvino", {"precision": "ACCURACY"}),
    "directml": Provider("DmlExecutionProvider", "onnxruntime-directml"),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime"),
    "webgpu": Provider("WebGpuExecutionProvider", "onnxruntime-webgpu"),
}
"""By the names that `load(bundle, provider=...)` takes."""


def installed_providers() -> tuple[str, ...]:
    """Names of the providers that the installed ONNX Runtime holds; whether they run here, only a session shows.

    Example:
        >>> from unet_export.runtimes.providers import installed_providers
        >>> "cpu" in installed_providers()
        True
    """
    import onnxruntime as ort

    present = ort.get_available_providers()
    return tuple(name for name, provider in PROVIDERS.items() if provider.name in present)


def chosen_providers(provider: str | None) -> list[Any]:
    """Providers for a session, with their options.

    Args:
        provider: A name of PROVIDERS. None takes CUDA where the installed ONNX Runtime holds it, else the CPU. The CPU
            always follows, for operations that a provider does not know.

    Raises:
        InputError: An unknown name, or one that the installed ONNX Runtime does not hold.
    """
    import onnxruntime as ort

    present = installed_providers()
    if provider is None:
        provider = "cuda" if "cuda" in present else "cpu"
    if provider not in PROVIDERS:
        raise InputError(f"unknown provider {provider!r}; allowed: {', '.join(PROVIDERS)}")
    asked = PROVIDERS[provider]
    if provider not in present:
        raise InputError(
            f"the installed onnxruntime {ort.__version__} has no provider {provider}, only {', '.join(present)}; "
            f"in a separate environment, pip install {asked.package}"
        )
    first = (asked.name, asked.options) if asked.options else asked.name
    return [first] if provider == "cpu" else [first, PROVIDERS["cpu"].name]


def check_used(provider: str | None, session: Any) -> None:
    """Raises InputError if a session does not run on the provider that was requested: where its libraries or its
    device are missing, ONNX Runtime takes the CPU, and only its log says so."""
    used = session.get_providers()
    if provider is not None and used[0] != PROVIDERS[provider].name:
        raise InputError(
            f"the provider {provider} does not run here: ONNX Runtime chose {used[0]} instead; its log "
            "names the missing library or device"
        )
