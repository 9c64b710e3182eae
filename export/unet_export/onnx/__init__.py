"""ONNX models: emitting, lowering, checking, fusing of pre- and post-processing."""
