"""TensorRT and TensorRT for RTX: engines built in a child process, described, run."""
