"""Bugs in the reference of the other architectures' operations, and in their ONNX emitters."""

from __future__ import annotations

from unet_export.onnx.ops_families import emit
from unet_spec import ops

from .plant import Edit, Plant
from .registry import NETWORK, ONNX, add


def _emit(op: type, old: str, new: str) -> Plant:
    return Edit(emit.dispatch(op), old, new, f"unet_export.onnx.ops_families.emit({op.__name__})")


add(
    "spec-layer-norm-over-space",
    "the layer norm averages over the pixels, too",
    "transunet",
    NETWORK,
    Edit(ops.LayerNorm.compute, "(-1,)", "(1, 2, 3)"),
)
add(
    "spec-position-half-pixel",
    "position vectors are resized by the other convention (JAX and reference share the matrix)",
    "transunet-drop",
    NETWORK,
    Edit(
        ops.PositionEmbedding.matrix,
        "np.arange(n) * (places - 1) / max(n - 1, 1)",
        "np.clip((np.arange(n) + 0.5) * places / n - 0.5, 0, places - 1)",
    ),
)
add(
    "spec-drop-block-gamma",
    "the probability of a square is not corrected for the border (all three share it)",
    "sa-unet-drop",
    ("forward.dropout",),
    Edit(ops.DropBlock.gamma, " * math.prod(size) / places", ""),
)
add(
    "spec-drop-block-rescale",
    "the reference scales by the nominal share, not by the mask's own",
    "sa-unet-drop",
    ("forward.train", "statistics.network"),
    Edit(ops.DropBlock.compute, "(mask.size / mask.sum())", "(1 / self.keep)"),
)
add(
    "spec-overhang-zero",
    "an overhanging window sees zeros, not nothing",
    "fcn-8s",
    ("forward.layers", "forward.eval"),
    Edit(ops.WindowMaxPool.compute, "constant_values=-np.inf", "constant_values=np.inf"),
)
add(
    "onnx-attention-scale",
    "scores are not divided by the root of a head's features",
    "transunet",
    ONNX,
    _emit(ops.Attention, "1 / math.sqrt(features)", "1.0"),
)
add(
    "onnx-attention-softmax-axis",
    "softmax over the queries, not over the keys",
    "transunet",
    ONNX,
    _emit(ops.Attention, ", axis=-1)", ", axis=-2)"),
)
add(
    "onnx-position-half-pixel",
    "position vectors are resized by the other convention of where pixels lie",
    "transunet-drop",
    ONNX,
    _emit(ops.PositionEmbedding, '"align_corners"', '"half_pixel"'),
)
add(
    "onnx-kernel-not-standardised",
    "kernels are written as they are trained",
    "transunet",
    ONNX,
    _emit(ops.StdConv, "op.standardised(np.asarray(writer.tensors[raw], np.float64))", "writer.tensors[raw]"),
)
add(
    "onnx-layer-norm-eps",
    "no epsilon is written: ONNX's default is ten times the network's",
    "transunet",
    ONNX,
    _emit(ops.LayerNorm, ", epsilon=op.eps", ""),
)
add(
    "onnx-nearest-rounding",
    "the nearest pixel is found by rounding up",
    "m-net",
    ONNX,
    _emit(ops.NearestUpsample, 'nearest_mode="floor"', 'nearest_mode="ceil"'),
)
add(
    "onnx-window-pool-floor",
    "windows that overhang the map do not count",
    "fcn-8s",
    ONNX,
    _emit(ops.WindowMaxPool, "int(op.ceil)", "0"),
)
add(
    "onnx-crop-offset",
    "scores are cut from their first pixel on",
    "fcn-8s",
    ONNX,
    _emit(ops.CropLike, "[op.offset] *", "[0] *"),
)
add(
    "onnx-cut-other-end",
    "the transposed convolution is cut at the wrong end",
    "attention-unet",
    ONNX,
    _emit(
        ops.CroppedConvTranspose,
        "[op.low] * writer.spatial_dims + [op.high]",
        "[op.high] * writer.spatial_dims + [op.low]",
    ),
)
add(
    "onnx-latent-log-variance",
    "the head's second half is taken for the standard deviation itself",
    "probabilistic-unet",
    ONNX,
    _emit(ops.LatentSample, 'writer.add("Exp", f"{name}.std", [log_std])', "log_std"),
)
add(
    "spec-mean-of-logarithms",
    "the reference averages the logarithms of the probabilities, a geometric mean",
    "ensemble",
    NETWORK,
    Edit(
        ops.MeanProbability.compute,
        "np.logaddexp.reduce(logs, axis=0) - math.log(len(inputs))",
        "np.mean(logs, axis=0)",
    ),
)
add(
    "onnx-mean-without-count",
    "the sum of the members' odds is taken over the inside only",
    "ensemble-overlapping",
    ONNX,
    _emit(ops.MeanProbability, "[inside[i], x])", "[inside[i], zero])"),
)
add(
    "onnx-scale-without-shift",
    "images are scaled for each member, not shifted",
    "ensemble",
    ONNX,
    _emit(ops.ScaleShift, ", bias])", ', writer.constant(f"{node.name}.zero", 0.0)])'),
)
