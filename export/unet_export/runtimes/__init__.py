"""Runtimes for CPUs and CUDA: ONNX Runtime, MNN, OpenVINO."""
