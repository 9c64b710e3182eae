"""ONNX: emitted from the graph, lowered, checked, with fused pre- and post-processing."""
