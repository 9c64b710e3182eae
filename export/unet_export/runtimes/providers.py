"""ONNX Runtime's execution providers: which are installed, their options, and whether a session uses the requested one.

Each package of ONNX Runtime contains some of them, and an environment can have only one such package. Tested: cpu (in
every test) and openvino (by hand). The others follow ONNX Runtime's documentation and are untested; `preflight`
measures them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from unet_spec import InputError


@dataclass(frozen=True)
class Provider:
    """An execution provider.

    Attributes:
        name: ONNX Runtime's name.
        package: Package to install instead of onnxruntime.
        options: Options for computing in float32, if the default is less accurate.
    """

    name: str
    package: str
    options: dict[str, str] = field(default_factory=dict)


PROVIDERS: dict[str, Provider] = {
    "cpu": Provider("CPUExecutionProvider", "onnxruntime"),
    # TF32 rounds factors to ten bits.
    "cuda": Provider("CUDAExecutionProvider", "onnxruntime-gpu", {"use_tf32": "0"}),
    "tensorrt": Provider("TensorrtExecutionProvider", "onnxruntime-gpu"),
    "tensorrt-rtx": Provider("NvTensorRTRTXExecutionProvider", "onnxruntime-trt-rtx"),
    "openvino": Provider("OpenVINOExecutionProvider", "onnxruntime-openvino", {"precision": "ACCURACY"}),
    "directml": Provider("DmlExecutionProvider", "onnxruntime-directml"),
    "coreml": Provider("CoreMLExecutionProvider", "onnxruntime"),
    "webgpu": Provider("WebGpuExecutionProvider", "onnxruntime-webgpu"),
}
"""Providers by their names in `load(bundle, provider=...)`."""


def installed_providers() -> tuple[str, ...]:
    """Names of the providers in the installed ONNX Runtime. Only a session shows whether they run here.

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
        provider: A name of PROVIDERS. None: CUDA if the installed ONNX Runtime contains it, otherwise the CPU. The CPU
            is always appended, for operations that a provider does not support.

    Raises:
        InputError: The provider is unknown, or the installed ONNX Runtime does not contain it.
    """
    import onnxruntime as ort

    present = installed_providers()
    if provider is None:
        provider = "cuda" if "cuda" in present else "cpu"
    if provider not in PROVIDERS:
        raise InputError(f"unknown provider {provider!r}; allowed: {', '.join(PROVIDERS)}")
    requested = PROVIDERS[provider]
    if provider not in present:
        raise InputError(
            f"the installed onnxruntime {ort.__version__} has no provider {provider}, only {', '.join(present)}; "
            f"in a separate environment, pip install {requested.package}"
        )
    first = (requested.name, requested.options) if requested.options else requested.name
    return [first] if provider == "cpu" else [first, PROVIDERS["cpu"].name]


def check_used(provider: str | None, session: Any) -> None:
    """Raises InputError if a session does not use the requested provider. If libraries or the device are missing, ONNX
    Runtime falls back to the CPU and reports it only in its log."""
    used = session.get_providers()
    if provider is not None and used[0] != PROVIDERS[provider].name:
        raise InputError(
            f"the provider {provider} does not run here: ONNX Runtime chose {used[0]} instead; its log "
            "names the missing library or device"
        )
