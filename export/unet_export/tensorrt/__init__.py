"""TensorRT and TensorRT for RTX: builds engines in a child process, describes and runs them."""
