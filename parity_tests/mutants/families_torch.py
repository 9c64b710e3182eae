"""Bugs in the PyTorch twins of the other architectures."""

from __future__ import annotations

from unet_torch.families import (
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
from unet_torch.nn import convolution, layers, spatial

from .plant import Edit
from .registry import NETWORK, add

add(
    "torch-gate-on-gating",
    "the gate weighs the gating signal, not the skip",
    "attention-unet",
    NETWORK,
    Edit(attention_unet.AttentionGate.forward, "return skip * ", "return gating * "),
)
add(
    "torch-heads-interleaved",
    "a head takes every h-th feature, not consecutive ones",
    "transunet",
    NETWORK,
    Edit(
        transunet.DotProduct.forward,
        "x.flatten(1, -2).unflatten(2, (self.heads, -1)).transpose(1, 2)",
        "x.flatten(1, -2).unflatten(2, (-1, self.heads)).permute(0, 3, 1, 2)",
    ),
)
add(
    "torch-layer-norm-eps",
    "PyTorch's own epsilon, ten times the network's",
    "transunet",
    NETWORK,
    Edit(layers.Layers.norm, "nn.LayerNorm(features, eps)", "nn.LayerNorm(features)"),
)
add(
    "torch-projection-eps",
    "the shortcuts' norms have the epsilon of all others",
    "transunet",
    NETWORK,
    Edit(
        transunet.StdBottleneck.__init__,
        "eps=PROJECTION_EPS",
        "eps=GROUP_EPS",
    ),
)
add(
    "torch-position-align-corners",
    "position vectors are resized by the other convention of where pixels lie",
    "transunet-drop",
    NETWORK,
    Edit(spatial.PositionEmbedding.forward, "align_corners=True", "align_corners=False"),
)
add(
    "torch-standardised-eps-outside-root",
    "epsilon is added to the kernels' standard deviation, not to their variance",
    "transunet",
    NETWORK,
    Edit(convolution.StdConv.forward, "* torch.rsqrt(variance + 1e-5)", "/ (torch.sqrt(variance) + 1e-5)"),
)
add(
    "torch-pad-start",
    "the row of zeros that completes a skip lies at the wrong end",
    "transunet",
    NETWORK,
    Edit(spatial.pad_end, "[0, 1]", "[1, 0]"),
)
add(
    "torch-dropout-before-position",
    "dropout does not touch the position vectors",
    "transunet-drop",
    ("forward.train", "statistics.network"),
    Edit(
        transunet.TransUNet.forward,
        "self.dropout(self.position(self.patch(x)))",
        "self.position(self.dropout(self.patch(x)))",
    ),
)
add(
    "torch-drop-block-off-centre",
    "squares lie one pixel beside their centres",
    "sa-unet-drop",
    ("forward.train", "statistics.network"),
    Edit(spatial.DropBlock.mask, "[block - 1] * 2 * len(size)", "[block - 2, block] * len(size)"),
)
add(
    "torch-drop-block-for-all-channels",
    "all channels lose the same squares",
    "sa-unet-drop",
    ("forward.train", "statistics.network"),
    Edit(spatial.DropBlock.mask, "*x.shape[:2], ", "len(x), 1, "),
)
add(
    "torch-spatial-attention-late",
    "attention after the bottleneck's second convolution, as in the paper's figure",
    "sa-unet",
    NETWORK,
    Edit(
        sa_unet.Bottleneck.forward,
        "self.second(self.attention(self.first(x)))",
        "self.attention(self.second(self.first(x)))",
    ),
)
add(
    "torch-path-short",
    "residual paths lack their last unit",
    "multiresunet-deep",
    NETWORK,
    Edit(
        multiresunet.MultiResUNet.forward,
        "for step in path.children():",
        "for step in list(path)[: max(len(path) - 1, 1)]:",
    ),
)
add(
    "torch-shift-norm-momentum",
    "the norms without a scale follow the batches ten times too fast",
    "multiresunet",
    ("forward.train", "statistics.network"),
    Edit(
        layers.Layers.norm,
        "batch_norm(features, eps, self.momentum",
        'batch_norm(features, eps, 0.1 if kind == "shift" else self.momentum',
    ),
)
add(
    "torch-nested-up-first",
    "the map from below comes first, not last",
    "unet++",
    NETWORK,
    Edit(unetpp.JoinedBlock.forward, "[*row, self.up(below)]", "[self.up(below), *row]"),
)
add(
    "torch-deep-supervision-last-only",
    "training sees the last head only",
    "unet++-deep",
    ("gradients.float64",),
    Edit(unetpp.UNetPP.loss, "sum(losses[1:], losses[0]) / len(losses)", "losses[-1]"),
)
add(
    "torch-m-net-order",
    "the pooled map comes before what the image's own convolution sees",
    "m-net",
    NETWORK,
    Edit(
        m_net.FedBlock.forward,
        "[self.image_act(self.image_conv(image)), self.pool(x)]",
        "[self.pool(x), self.image_act(self.image_conv(image))]",
    ),
)
add(
    "torch-m-net-loss-without-mean",
    "the loss of the averaged output is left out",
    "m-net",
    ("gradients.float64",),
    Edit(m_net.MNet.loss, "(*sides, sum(sides[1:], sides[0]) / len(sides))", "sides"),
)
add(
    "torch-window-pool-floor",
    "windows that overhang the map do not count",
    "fcn-8s",
    NETWORK,
    Edit(spatial.WindowMaxPool.forward, ", ceil_mode=self.ceil", ""),
)
add(
    "torch-fcn-score-scaled",
    "pool3 is scaled by 0.0001 before it is scored, as in the at-once FCN-8s",
    "fcn-8s",
    ("forward.eval", "forward.layers"),
    Edit(fcn8s.FCN8s.forward, "self.score_pool3(pooled[2])", "self.score_pool3(0.0001 * pooled[2])"),
)
add(
    "torch-fcn-offsets-exchanged",
    "the two cuts of scores exchanged",
    "fcn-8s",
    NETWORK,
    Edit(fcn8s.FCN8s.forward, 'OFFSETS["score_pool4"]', 'OFFSETS["score_pool3"]'),
)
add(
    "torch-divergence-log-variance",
    "the KL term takes the head's second half for the logarithm of the variance",
    "probabilistic-unet",
    ("gradients.float64",),
    Edit(probabilistic_unet.gaussian_divergence, "2 * (log_std - log_std_q)", "(log_std - log_std_q)"),
)
add(
    "torch-elbo-of-batch",
    "the KL term is not divided by the number of pixels",
    "probabilistic-unet",
    ("gradients.float64",),
    Edit(
        probabilistic_unet.ProbabilisticUNet.loss,
        "self.config.beta / math.prod(labels.shape[1:]) * kl",
        "self.config.beta * kl",
    ),
)
add(
    "torch-latent-order",
    "the sample comes before the features, not after them",
    "probabilistic-unet",
    NETWORK,
    Edit(probabilistic_unet.join, "[features, z], dim", "[z, features], dim"),
)
add(
    "torch-samples-without-mean",
    "samples are drawn around zero, not around the prior's mean",
    "probabilistic-unet",
    ("forward.eval",),
    Edit(probabilistic_unet.ProbabilisticUNet.sample, "mean + torch.exp(log_std) * eps", "torch.exp(log_std) * eps"),
)
add(
    "torch-reconstruction-of-prior",
    "training decodes a sample of the prior, not of the posterior",
    "probabilistic-unet",
    ("forward.eval", "gradients.float64"),
    Edit(
        probabilistic_unet.ProbabilisticUNet.reconstruct,
        "self.fcomb(join(self.unet(image), mean + torch.exp(log_std) * noise))",
        "self(image, noise)",
    ),
)
add(
    "torch-sigmoids-as-softmax",
    "classes that overlap share their probability",
    "ensemble-overlapping",
    NETWORK,
    Edit(ensemble.MeanProbability.forward, "if not self.sigmoid:", "if True:"),
)
