"""Bugs in the Flax twin."""

from __future__ import annotations

import jax

from unet_jax.families import unet
from unet_jax.nn import blocks, convolution, layers, norm, pointwise, spatial

from .plant import Edit, Entries, Plant
from .registry import NETWORK, add

_BATCH_NORM = norm.BatchNorm.__call__
_VARIANCE = "channel_mean(jnp.square(centred), self.cpu_step)"
_HEAD = unet.UNet.__call__


def _activation(name: str, change: str, function) -> Plant:
    return Entries(
        "unet_jax.nn.pointwise.ACTIVATIONS", f"{name}: {change}", lambda: pointwise.ACTIVATIONS, {name: function}
    )


add(
    "jax-biased-variance",
    "the running variance is that of the batch divided by n, as Flax has it",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, "count / max(count - 1, 1)", "1.0"),
)
add(
    "jax-unbiased-normalisation",
    "training normalises by the variance divided by n − 1",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, _VARIANCE, f"{_VARIANCE} * count / (count - 1)"),
)
add(
    "jax-norm-momentum-default",
    "momentum 0.99, Flax's default, not the config's",
    "crop-batch",
    NETWORK,
    Edit(norm.BatchNorm.__init__, "self.eps, self.momentum = eps, momentum", "self.eps, self.momentum = eps, 0.01"),
)
add(
    "jax-norm-eps",
    "epsilon is a hundredth too large",
    "crop-batch",
    NETWORK,
    Edit(norm.BatchNorm.__init__, "self.eps, self.momentum = eps,", "self.eps, self.momentum = 1.01 * eps,"),
)
add(
    "jax-norm-eps-outside-root",
    "epsilon is added to the standard deviation, not to the variance",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, "jax.lax.rsqrt(var + self.eps)", "1 / (jnp.sqrt(var) + self.eps)"),
)
add(
    "jax-batch-norm-fast-variance",
    "the variance as E[x²] − E[x]², which cancels where the mean is large",
    "crop-batch",
    (*NETWORK, "gradients.float32"),
    Edit(_BATCH_NORM, _VARIANCE, "channel_mean(stats * stats, self.cpu_step) - mean**2"),
)
add(
    "jax-statistics-in-float32",
    "statistics are computed in float32, whatever the weights are",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, "x.astype(self.mean.dtype)", "x.astype(jnp.float32)"),
)
add(
    "jax-statistics-without-gradient",
    "no gradient flows through the batch's mean and variance",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, "x.astype(self.mean.dtype)", "jax.lax.stop_gradient(x)"),
)
add(
    "jax-running-statistics-in-training",
    "training normalises by the running statistics and leaves them alone",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, "if self.use_running_average:", "if True:"),
)
add(
    "jax-running-mean-stale",
    "the variance follows the batches, the mean does not",
    "crop-batch",
    NETWORK,
    Edit(_BATCH_NORM, "keep * self.mean[...] + self.momentum * mean", "self.mean[...]"),
)
add(
    "jax-group-size-for-groups",
    "the number of groups is taken for their size",
    "group-elu",
    NETWORK,
    Edit(layers.Layers.norm, "groups or self.groups", "features // (groups or self.groups)"),
)
add(
    "jax-group-norm-eps",
    "epsilon 1e-6, Flax's default",
    "group-elu",
    NETWORK,
    Edit(layers.Layers.norm, '"epsilon": eps', '"epsilon": 1e-6'),
)
add(
    "jax-instance-norm-fast-variance",
    "the variance as E[x²] − E[x]², Flax's default",
    "valid-instance",
    (*NETWORK, "gradients.float32"),
    Edit(layers.Layers.norm, '"use_fast_variance": False', '"use_fast_variance": True'),
)
add(
    "jax-leaky-slope",
    "slope 0.2",
    "instance-leaky-relu",
    NETWORK,
    _activation("leaky_relu", "slope 0.2", lambda x, slope: jax.nn.leaky_relu(x, 0.2)),
)
add(
    "jax-elu-alpha",
    "alpha 0.9",
    "group-elu",
    NETWORK,
    _activation("elu", "alpha 0.9", lambda x: jax.nn.elu(x, 0.9)),
)
add(
    "jax-silu-for-gelu",
    "GELU as x · sigmoid(1.702 x)",
    "gelu",
    NETWORK,
    _activation("gelu", "x · sigmoid(1.702 x)", lambda x: x * jax.nn.sigmoid(1.702 * x)),
)
add(
    "jax-relu-gradient",
    "the ReLU's gradient is 1 at negative values, too",
    "crop-batch",
    NETWORK,
    _activation("relu", "straight-through", lambda x: x + jax.lax.stop_gradient(jax.nn.relu(x) - x)),
)
add(
    "jax-up-convolution-not-transposed",
    "the kernel of a convolution: input and output channels change places",
    "equal-widths",
    NETWORK,
    Edit(convolution.UpConv.__call__, "(x, kernel)", "(x, kernel.swapaxes(-1, -2))"),
)
add(
    "jax-up-convolution-turned",
    "the kernel upside down, as a convolution's gradient has it",
    "crop-batch",
    NETWORK,
    Edit(convolution.UpConv.__call__, "(x, kernel)", "(x, kernel[::-1])"),
)
add(
    "jax-average-pool",
    "the mean of a window, not its maximum",
    "pad-none",
    NETWORK,
    Edit(
        spatial.MaxPool.__call__,
        "max_pool(x, per_axis(self.window, x.ndim - 2))",
        "nnx.avg_pool(x, *[per_axis(self.window, 2)] * 2)",
    ),
)
add(
    "jax-align-corners-ignored",
    "half-pixel interpolation, which is all that jax.image.resize has",
    "article-bilinear",
    NETWORK,
    Edit(spatial.Upsample.__init__, "UpsampleOp(scale, align_corners)", "UpsampleOp(scale, False)"),
)
add(
    "jax-upsampling-in-bfloat16",
    "the weights of the interpolation are rounded to bfloat16",
    "same-bilinear",
    NETWORK,
    Edit(
        spatial.Upsample.__call__,
        "(self.op.matrix(x.shape[axis]), x.dtype)",
        "(self.op.matrix(x.shape[axis]), jnp.bfloat16)",
    ),
)
add(
    "jax-crop-off-by-one",
    "the skip is cropped one pixel too far on",
    "crop-batch",
    NETWORK,
    Edit(spatial.center_crop, "// 2\n", "// 2 + 1\n"),
)
add(
    "jax-concat-interleaved",
    "the channels of skip and upsampled map take turns",
    "equal-widths",
    NETWORK,
    Edit(
        blocks.UpBlock.__call__,
        "jnp.concatenate([skip, x] if self.skip_first else [x, skip], axis=-1)",
        "jnp.stack([skip, x], axis=-1).reshape(*x.shape[:-1], -1)",
    ),
)
add(
    "jax-conv-padding-on-one-side",
    '"same" convolutions pad twice on the low side',
    "same",
    NETWORK,
    Edit(layers.Layers._conv, "[(n, n) for", "[(2 * n, 0) for"),
)
add(
    "jax-dropout-rate",
    "the rate is taken for the share that is kept",
    "gelu",
    NETWORK,
    Edit(layers.Layers.dropout, "nnx.Dropout(rate)", "nnx.Dropout(rate and 1 - rate)"),
)
add(
    "jax-dropout-of-channels",
    "whole channels are dropped, not single values",
    "gelu",
    NETWORK,
    Edit(layers.Layers.dropout, "nnx.Dropout(rate)", "nnx.Dropout(rate, broadcast_dims=(1, 2))"),
)
add(
    "jax-dropout-in-eval",
    "dropout goes on in evaluation",
    "gelu",
    NETWORK,
    Edit(
        blocks.TwoConvs.convolve,
        "self.dropout(x, rngs=rngs)",
        "self.dropout(x, deterministic=False, rngs=rngs or nnx.Rngs(0))",
    ),
)
add(
    "jax-head-in-float32",
    "the head is given its input rounded to float32",
    "crop-batch",
    NETWORK,
    Edit(_HEAD, "self.head(x)", "self.head(x.astype(jnp.float32))"),
)
add(
    "jax-activation-on-logits",
    "the head is followed by a ReLU",
    "crop-batch",
    NETWORK,
    Edit(_HEAD, "self.head(x)", "jnp.maximum(self.head(x), 0)"),
)
add(
    "jax-distance-first",
    "the distance comes before the logits, in the place of a class",
    "distance",
    NETWORK,
    Edit(_HEAD, "[logits, self.distance(x)]", "[self.distance(x), logits]"),
)
