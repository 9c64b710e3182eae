"""Bugs in the Flax twins of the other architectures."""

from __future__ import annotations

from unet_jax.families import (
    attention_unet,
    ensemble,
    fcn8s,
    m_net,
    multiresunet,
    probabilistic_unet,
    sa_unet,
    transunet,
    unetpp,
)
from unet_jax.nn import convolution, layers, spatial

from .plant import Edit
from .registry import NETWORK, add

_GATE = attention_unet.AttentionGate.__call__

add(
    "jax-gate-sum-late",
    "the gate's ReLU comes before the sum of its two parts",
    "attention-unet",
    NETWORK,
    Edit(
        _GATE,
        "self.act(self.norm_g(self.w_g(gating)) + self.norm_x(self.w_x(skip)))",
        "self.act(self.norm_g(self.w_g(gating))) + self.act(self.norm_x(self.w_x(skip)))",
    ),
)
add(
    "jax-gate-exchanged",
    "skip and gating signal take each other's convolution",
    "attention-unet",
    NETWORK,
    Edit(
        _GATE,
        "self.norm_g(self.w_g(gating)) + self.norm_x(self.w_x(skip))",
        "self.norm_g(self.w_g(skip)) + self.norm_x(self.w_x(gating))",
    ),
)
add(
    "jax-up-conv-cut-other-end",
    "a row is cut at the wrong end of the transposed convolution",
    "attention-unet-3d",
    NETWORK,
    Edit(layers.Layers.up_conv, "n - 1 - cut[0], n - 1 - cut[1]", "n - 1 - cut[1], n - 1 - cut[0]"),
)
add(
    "jax-plain-instance-norm-eps",
    "Flax's own epsilon, a tenth of the config's",
    "attention-unet",
    NETWORK,
    Edit(layers.Layers.norm, '"epsilon": eps', '"epsilon": 1e-6 if kind == "plain" else eps'),
)
add(
    "jax-attention-scale",
    "scores are not divided by the root of a head's features",
    "transunet",
    NETWORK,
    Edit(transunet.DotProduct.__call__, "q / q.shape[-1] ** 0.5", "q"),
)
add(
    "jax-attention-softmax-axis",
    "softmax over the queries, not over the keys",
    "transunet",
    NETWORK,
    Edit(transunet.DotProduct.__call__, "jax.nn.softmax(scores, axis=-1)", "jax.nn.softmax(scores, axis=-2)"),
)
add(
    "jax-transformer-norm-late",
    "the norm comes after the residual sum, as in the first transformer",
    "transunet",
    NETWORK,
    Edit(transunet.TransformerLayer.__call__, "x + self.attention(self.norm1(x))", "self.norm1(x + self.attention(x))"),
)
add(
    "jax-position-transposed",
    "position vectors lie by columns, not by rows",
    "transunet",
    NETWORK,
    Edit(
        spatial.PositionEmbedding.__call__,
        "self.embedding[...].reshape(*self.op.grid, -1)",
        "self.embedding[...].reshape(*self.op.grid[::-1], -1).swapaxes(0, 1)",
    ),
)
add(
    "jax-standardised-unbiased",
    "kernels are standardised by the variance divided by n − 1",
    "transunet",
    NETWORK,
    Edit(convolution.StdConv.__call__, "jnp.square(centred).mean(axes, keepdims=True)", "kernel.var(axes, ddof=1)"),
)
add(
    "jax-drop-block-rescale",
    "what DropBlock keeps is not scaled up",
    "sa-unet-drop",
    ("forward.train", "statistics.network"),
    Edit(spatial.DropBlock.__call__, " * (mask.size / jnp.maximum(mask.sum(), 1))", ""),
)
add(
    "jax-drop-block-gamma",
    "squares are drawn with the probability of single pixels",
    "sa-unet-drop",
    ("forward.dropout",),
    Edit(spatial.DropBlock.mask, "self.op.gamma(size)", "1 - self.op.keep"),
)
add(
    "jax-spatial-attention-order",
    "maximum and mean over the channels exchanged",
    "sa-unet",
    NETWORK,
    Edit(
        sa_unet.SpatialAttention.__call__,
        "[x.mean(-1, keepdims=True), channel_max(x)]",
        "[channel_max(x), x.mean(-1, keepdims=True)]",
    ),
)
add(
    "jax-multires-order",
    "the three convolutions' outputs joined the other way round",
    "multiresunet",
    NETWORK,
    Edit(multiresunet.MultiResBlock.__call__, "], axis=-1)", "][::-1], axis=-1)"),
)
add(
    "jax-multires-residual-late",
    "the shortcut is added after the activation",
    "multiresunet",
    NETWORK,
    Edit(multiresunet.MultiResBlock.__call__, "self.act(shortcut + joined)", "shortcut + self.act(joined)"),
)
add(
    "jax-nested-order",
    "the dense skips of UNet++ joined the other way round",
    "unet++",
    NETWORK,
    Edit(unetpp.JoinedBlock.__call__, "[*row, self.up(below)]", "[*reversed(row), self.up(below)]"),
)
add(
    "jax-deep-supervision-average",
    "the logits are the mean of all heads', not the last one's",
    "unet++-deep",
    ("forward.eval",),
    Edit(
        unetpp.UNetPP.__call__,
        "self.heads[-1](row[-1])",
        "sum(head(x) for head, x in zip(self.heads, row[1:])) / len(self.heads)",
    ),
)
add(
    "jax-m-net-leg-maximum",
    "the image's own way down takes maxima, not means",
    "m-net",
    NETWORK,
    Edit(m_net.FedBlock.__call__, "self.image_pool(image)", "self.pool(image)"),
)
add(
    "jax-m-net-sum",
    "the sum of the heads, not their mean",
    "m-net",
    ("forward.eval",),
    Edit(m_net.MNet.__call__, " / len(sides)", ""),
)
add(
    "jax-nearest-tiled",
    "the map is repeated as a whole, not each pixel",
    "m-net",
    NETWORK,
    Edit(
        spatial.NearestUpsample.__call__,
        "jnp.repeat(x, self.scale, axis)",
        "jnp.concatenate([x] * self.scale, axis)",
    ),
)
add(
    "jax-fcn-crop-offset",
    "scores are cut one pixel too early",
    "fcn-8s",
    NETWORK,
    Edit(
        spatial.crop_like,
        "offset, offset + like.shape[axis]",
        "offset - 1, offset - 1 + like.shape[axis]",
    ),
)
add(
    "jax-fcn-upsampling-trained",
    "the fixed interpolation is a parameter like any other",
    "fcn-8s",
    ("mapping.bijection",),
    Edit(fcn8s.FCN8s.__init__, "trained=config.learn_upsampling", "trained=True"),
)
add(
    "jax-divergence-direction",
    "KL(prior ‖ posterior) for KL(posterior ‖ prior)",
    "probabilistic-unet",
    ("gradients.float64",),
    Edit(probabilistic_unet.gaussian_divergence, "= of, against", "= against, of"),
)
add(
    "jax-divergence-without-gradient",
    "the loss is right, but its KL term has no gradient",
    "probabilistic-unet",
    ("gradients.float64",),
    Edit(
        probabilistic_unet.ProbabilisticUNet.loss,
        "gaussian_divergence(posterior, prior).mean()",
        "jax.lax.stop_gradient(gaussian_divergence(posterior, prior).mean())",
    ),
)
add(
    "jax-latent-log-variance",
    "the head's second half is taken for the logarithm of the variance",
    "probabilistic-unet",
    ("forward.eval",),
    Edit(probabilistic_unet.ProbabilisticUNet.__call__, "jnp.exp(log_std)", "jnp.exp(log_std / 2)"),
)
add(
    "jax-posterior-fed-logits",
    "the posterior is given the prediction, not the labels",
    "probabilistic-unet",
    NETWORK,
    Edit(
        probabilistic_unet.ProbabilisticUNet.reconstruct,
        "labels[..., None].astype(image.dtype)",
        "self(image)[..., :1]",
    ),
)
add(
    "jax-mean-of-logits",
    "the logits are averaged, not the probabilities",
    "ensemble",
    NETWORK,
    Edit(ensemble.MeanProbability.__call__, "jax.nn.log_softmax(x, axis=-1)", "x"),
)
add(
    "jax-members-share-a-scale",
    "every member is given the images of the first",
    "ensemble",
    NETWORK,
    Edit(ensemble.Ensemble.__call__, "member(scale(image), rngs)", "member(self.scales[0](image), rngs)"),
)
add(
    "jax-scale-trained",
    "the members' normalisation is a parameter like any other",
    "ensemble",
    ("mapping.bijection",),
    Edit(ensemble.ScaleShift.__init__, "Fixed(jnp.ones(features, dtype))", "nnx.Param(jnp.ones(features, dtype))"),
)
