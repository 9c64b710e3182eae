"""Mutants that change nothing that anybody could notice, and why: by module, old text and new text."""

EQUIVALENT: dict[tuple[str, str, str], str] = {
    (
        "unet_jax/training/log.py",
        "json.dumps(values, allow_nan=False)",
        "json.dumps(values)",
    ): "the line before has replaced every number that is not finite, so there is none left to refuse",
    (
        "unet_torch/nn/spatial.py",
        "self.weight.transpose(1, 2)",
        "self.weight.transpose(2, 1)",
    ): "the same two axes are exchanged",
    (
        "unet_torch/weights.py",
        'np.array(tensor.contiguous().view(torch.int16).numpy(), order="C", copy=True)',
        "np.array(tensor.contiguous().view(torch.int16).numpy(), order='C')",
    ): "np.array copies by default; the argument says it to the reader",
    (
        "unet_torch/weights.py",
        'np.array(tensor.numpy(), order="C", copy=True)',
        "np.array(tensor.numpy(), order='C')",
    ): "np.array copies by default; the argument says it to the reader",
    (
        "unet_torch/weights.py",
        'np.array(array, order="C", copy=True)',
        "np.array(array, order='C')",
    ): "np.array copies by default; the argument says it to the reader",
    (
        "export/unet_export/tensorrt/build.py",
        "plain.SerializeToString(deterministic=True)",
        "plain.SerializeToString()",
    ): "It fixes the order of map fields, and a model of ONNX has none.",
}
