"""Mutants that change nothing that anybody could notice, and why: by module, old text (or its whole line, where the
text alone is as short as a number) and new text."""

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
        "unet_jax/training/planning/volumes.py",
        "grids, pixels = network.geometry.grids, figures.spacing or (1.0,) * 3",
        "4",
    ): "a network has at most three axes, so a fourth number is never read",
    (
        "unet_jax/losses/distance.py",
        "return (w * (predicted[..., 0] - t) ** 2).sum() / jnp.where(total > 0, total, 1.0)",
        "1",
    ): "there is one channel, and JAX takes the last one for an index beyond it",
    (
        "unet_spec/sources/monai.py",
        "dims = len(firsts[0]) - 2",
        "1",
    ): "all of these kernels have as many axes",
    (
        "tools/unet_tools/report/plots.py",
        "table = np.array(points, np.float64).reshape(-1, 2)",
        "2",
    ): "NumPy takes any negative number for the size that follows from the others",
    (
        "unet_data/metrics/matching.py",
        "gain[row, column] = 1 + iou[rest] / (2 * min(len(rows), len(columns)))",
        "2",
    ): "any number above the sum of the other terms makes one match more worth more than a larger IoU",
    (
        "unet_data/objects/basins.py",
        "if way < 0:",
        "1",
    ): "the way is -1 or 1",
    (
        "export/unet_export/tensorrt/build.py",
        "plain.SerializeToString(deterministic=True)",
        "plain.SerializeToString()",
    ): "It fixes the order of map fields, and a model of ONNX has none.",
    (
        "unet_data/spacing/interpolate.py",
        "np.clip(index, 0, self.before - 1)",
        "np.clip(0, index, self.before - 1)",
    ): "min(max(a, b), c) is the same for a and b exchanged",
    (
        "unet_data/spacing/interpolate.py",
        "np.clip(np.floor(at + 0.5).astype(np.int64), 0, self.before - 1)",
        "np.clip(0, np.floor(at + 0.5).astype(np.int64), self.before - 1)",
    ): "min(max(a, b), c) is the same for a and b exchanged",
    (
        "unet_data/io/formats/encode_nifti.py",
        "numbers.swapaxes(1, 2)",
        "numbers.swapaxes(2, 1)",
    ): "the same two axes are exchanged",
}
