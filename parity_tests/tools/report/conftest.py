"""A report and its page."""

import numpy as np
import pytest

from unet_spec.summary import facts
from unet_tools.report import Report
from unet_tools.report.page import render

from .reports import SMALL, check, example


@pytest.fixture(scope="module")
def report() -> Report:
    log: list[dict] = [{"step": s, "loss": 0.7 / s, "steps_per_second": 5.0} for s in range(1, 80)]
    log += [{"step": s, "pixel_accuracy": 0.9, "iou": 0.8, "dice": 0.89, "v_rand": 0.61} for s in (40, 79)]
    return Report(
        title="A run",
        command="unet demo --out 'a folder' --seed 7",
        facts=facts(SMALL, (220, 220)),
        log=log,
        scores={"pixel_accuracy": 0.9413, "iou": 0.8871, "dice": np.float32(0.25), "baseline_pixel_accuracy": 0.7803},
        examples=[example()],
        parity=[
            check("JAX", "float64", 3.1e-15, 1e-12, True),
            check("ONNX Runtime", "float32", 1.3e-6, 1e-5, True),
            check("TensorRT-RTX", "float32", None, 1e-4, None, "no NVIDIA GPU here"),
        ],
        tiling={
            "image_size": [509, 701], "canvas": [604, 796], "tile": [220, 220], "tiles": 24, "bound": 1e-5,
            "worst_deviation": {"JAX": 4.2e-7, "ONNX Runtime": 0.0}, "seconds": {"JAX": 1.91},
        },
        engine={"backend": "tensorrt_rtx", "bytes": 2481152, "seconds": 12.81, "compute_capabilities": ["8.0", "8.6"],
                "profile": {"min": [1, 1, 92, 92]}, "dtypes": {"float32": 31}, "note": None},
        settings={"learning_rate": 0.002, "augmentation.mirror": True, "ignore": None},
        seconds={"data": 0.41, "train": 122.3},
        versions={"jax": "0.7.2"},
        hardware="2 cores",
        class_names=("membrane", "cell"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def page(report) -> str:
    return render(report)
