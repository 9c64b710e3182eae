"""Runtimes on a CPU or CUDA: ONNX Runtime, MNN, OpenVINO."""
