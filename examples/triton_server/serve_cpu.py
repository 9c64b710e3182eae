"""Serve a bundle's Triton ensemble on a machine without Triton's container, by nvidia-pytriton:

    python serve_cpu.py BUNDLE [--model unet] [--port 8000]

pytriton carries Triton's server with its Python backend only, so here the steps of the ensemble, as config.pbtxt has
them, are run by ONNX Runtime: same names, types and shapes on the wire as from the repository itself. The step that
numbers objects is the bundle's own.
Needs: pip install nvidia-pytriton 'tritonclient[grpc]' onnxruntime numpy; for objects, unet-twins
"""

import argparse
import os
import runpy
import sysconfig
from pathlib import Path

import numpy as np
import onnxruntime as ort
from google.protobuf import text_format
from pytriton.decorators import batch
from pytriton.model_config import ModelConfig, Tensor
from pytriton.triton import Triton, TritonConfig
from tritonclient.grpc import model_config_pb2

TYPES = {
    model_config_pb2.TYPE_UINT8: np.uint8,
    model_config_pb2.TYPE_FP32: np.float32,
    model_config_pb2.TYPE_UINT32: np.uint32,
    model_config_pb2.TYPE_INT64: np.int64,
}


def read(folder: Path):
    """A model's configuration."""
    return text_format.Parse((folder / "config.pbtxt").read_text(), model_config_pb2.ModelConfig())


def tensors(specs) -> list[Tensor]:
    return [Tensor(name=t.name, dtype=TYPES[t.data_type], shape=tuple(t.dims)) for t in specs]


def opened(folder: Path, names: list[str]):
    """A function from the inputs of a step, by name, to its outputs `names`."""
    if (folder / "model.onnx").exists():
        session = ort.InferenceSession(folder / "model.onnx", providers=["CPUExecutionProvider"])
        return lambda given: dict(zip(names, session.run(names, given), strict=True))
    model = runpy.run_path(str(folder / "model.py"))["TritonPythonModel"]()
    model.initialize({})

    def numbered(given):
        objects, classes = model.step(given["logits"], given["image"].shape[1:-1])
        return {"objects": objects, "object_classes": classes}

    return numbered


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("bundle", type=Path)
    parser.add_argument("--port", type=int, default=8000)
    parser.add_argument("--model", default="unet", help="the --name of the export")
    args = parser.parse_args()
    repository = args.bundle / "triton"
    ensemble = read(repository / args.model)
    steps = []
    for step in ensemble.ensemble_scheduling.step:
        steps.append((opened(repository / step.model_name / "1", list(step.output_map)), step))

    @batch
    def infer(**values: np.ndarray) -> dict[str, np.ndarray]:
        for compute, step in steps:
            found = compute({own: values[name] for own, name in step.input_map.items()})
            values |= {step.output_map[own]: array for own, array in found.items()}
        return {t.name: values[t.name] for t in ensemble.output}

    # Triton's Python backend loads whichever libpython it finds first; it must be this interpreter's.
    places = [sysconfig.get_config_var("LIBDIR"), os.environ.get("LD_LIBRARY_PATH")]
    os.environ["LD_LIBRARY_PATH"] = os.pathsep.join(filter(None, places))
    config = TritonConfig(http_port=args.port, grpc_port=args.port + 1, metrics_port=args.port + 2, exit_on_error=True)
    with Triton(config=config) as triton:
        triton.bind(
            model_name=ensemble.name,
            infer_func=infer,
            inputs=tensors(ensemble.input),
            outputs=tensors(ensemble.output),
            config=ModelConfig(max_batch_size=ensemble.max_batch_size),
        )
        triton.serve()


if __name__ == "__main__":
    main()
