"""TransUNet in PyTorch. `unet_jax/families/transunet.py` is the same in Flax.

For the figure and the departures from the paper, see `unet_spec/families/transunet.py`.
"""

from __future__ import annotations

from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional as F

from unet_spec.families.transunet import GROUP_EPS, LAYER_EPS, PROJECTION_EPS, TransUNetConfig

from ..network import Network
from ..nn.blocks import ConvUnit, UpConvBlock
from ..nn.layers import Layers
from ..nn.spatial import pad_end
from ..registry import register
from ..shapes import Image, Logits


class Root(nn.Module):
    """The stem of the ResNet: 7x7 convolution with stride 2, group norm, ReLU. The network calls its pooling."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        super().__init__()
        self.conv = layers.std_conv(config.in_channels, config.width, 7, stride=2)
        self.norm = layers.norm(config.width, "group", groups=config.groups, eps=GROUP_EPS)
        self.act = layers.act()
        self.pool = layers.window_max_pool(3, 2)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h2 w2"]:
        return self.act(self.norm(self.conv(x)))


class StdBottleneck(nn.Module):
    """Weight-standardised 1x1, 3x3 and 1x1 convolutions with group norms, plus the input, projected if its shape
    differs."""

    def __init__(self, config: TransUNetConfig, layers: Layers, channels_in: int, width: int, stride: int):
        super().__init__()
        inner, groups = width // 4, config.groups
        self.conv1 = layers.std_conv(channels_in, inner, 1)
        self.norm1 = layers.norm(inner, "group", groups=groups, eps=GROUP_EPS)
        self.act1 = layers.act()
        self.conv2 = layers.std_conv(inner, inner, 3, stride)
        self.norm2 = layers.norm(inner, "group", groups=groups, eps=GROUP_EPS)
        self.act2 = layers.act()
        self.conv3 = layers.std_conv(inner, width, 1)
        self.norm3 = layers.norm(width, "group", groups=groups, eps=GROUP_EPS)
        self.act3 = layers.act()
        self.projects = stride > 1 or channels_in != width
        if self.projects:
            self.project = layers.std_conv(channels_in, width, 1, stride)
            self.project_norm = layers.norm(width, "group", groups=width, eps=PROJECTION_EPS)

    def forward(self, x: Float[Tensor, "n c h w"]) -> Float[Tensor, "n k h2 w2"]:
        shortcut = self.project_norm(self.project(x)) if self.projects else x
        x = self.act1(self.norm1(self.conv1(x)))
        x = self.act2(self.norm2(self.conv2(x)))
        return self.act3(shortcut + self.norm3(self.conv3(x)))


class DotProduct(nn.Module):
    """softmax(q · kᵀ / sqrt(d)) · v for each head of d features, over maps whose pixels are the tokens."""

    def __init__(self, heads: int):
        super().__init__()
        self.heads = heads

    def forward(
        self, query: Float[Tensor, "n h w c"], key: Float[Tensor, "n h w c"], value: Float[Tensor, "n h w c"]
    ) -> Float[Tensor, "n h w c"]:
        q, k, v = (x.flatten(1, -2).unflatten(2, (self.heads, -1)).transpose(1, 2) for x in (query, key, value))
        return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).reshape(query.shape)


class Attention(nn.Module):
    """Multi-head self-attention over all pixels of a map."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        super().__init__()
        self.query = layers.linear(config.hidden, config.hidden)
        self.key = layers.linear(config.hidden, config.hidden)
        self.value = layers.linear(config.hidden, config.hidden)
        self.product = DotProduct(config.heads)
        self.out = layers.linear(config.hidden, config.hidden)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        return self.out(self.product(self.query(x), self.key(x), self.value(x)))


class MLP(nn.Module):
    """Two linear layers with an exact GELU between them."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        super().__init__()
        self.fc1 = layers.linear(config.hidden, config.mlp)
        self.act = layers.act("gelu")
        self.drop1 = layers.dropout(config.dropout)
        self.fc2 = layers.linear(config.mlp, config.hidden)
        self.drop2 = layers.dropout(config.dropout)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        x = self.drop1(self.act(self.fc1(x)))
        return self.drop2(self.fc2(x))


class TransformerLayer(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x))."""

    def __init__(self, config: TransUNetConfig, layers: Layers):
        super().__init__()
        self.norm1 = layers.norm(config.hidden, "layer", eps=LAYER_EPS)
        self.attention = Attention(config, layers)
        self.norm2 = layers.norm(config.hidden, "layer", eps=LAYER_EPS)
        self.mlp = MLP(config, layers)

    def forward(self, x: Float[Tensor, "n h w c"]) -> Float[Tensor, "n h w c"]:
        x = x + self.attention(self.norm1(x))
        return x + self.mlp(self.norm2(x))


@register(TransUNetConfig)
class TransUNet(Network):
    """TransUNet (Chen et al. 2021, arXiv 2102.04306). Arguments as for `UNet`."""

    config: TransUNetConfig
    channels_last = ("layers.*", "norm")
    """Modules whose maps are (N, H, W, C)."""

    def __init__(self, config: TransUNetConfig, seed: int | None = 0):
        super().__init__(config)
        layers = Layers(config, bias=False)
        self.root = Root(config, layers)
        self.stages, channels = nn.ModuleList(), [config.width]
        for i, units in enumerate(config.units):
            width = config.width * 4 * 2**i
            ins = [channels[-1], *[width] * (units - 1)]
            stage = [StdBottleneck(config, layers, c, width, 2 if i and not k else 1) for k, c in enumerate(ins)]
            self.stages.append(nn.ModuleList(stage))
            channels.append(width)
        self.patch = layers.conv(channels.pop(), config.hidden, 1)
        self.position = layers.position_embedding(config.hidden, config.grid)
        self.dropout = layers.dropout(config.dropout)
        self.layers = nn.ModuleList([TransformerLayer(config, layers) for _ in range(config.layers)])
        self.norm = layers.norm(config.hidden, "layer", eps=LAYER_EPS)
        self.more = ConvUnit(layers, config.hidden, config.more)
        self.decoder, below = nn.ModuleList(), config.more
        for skip, width in zip((*reversed(channels), 0), config.decoder, strict=True):
            self.decoder.append(UpConvBlock(layers, layers.upsample(), below + skip, width))
            below = width
        self.head = layers.conv(config.decoder[-1], config.out_channels)
        self.initialize(seed)

    def forward(self, image: Image) -> Logits:
        """The logits (N, out_channels, *spatial) of an image (N, in_channels, *spatial)."""
        self.check(image)
        x = self.root(image)
        skips = [x]
        x = self.root.pool(x)
        for i, stage in enumerate(self.stages):
            for unit in stage.children():
                x = unit(x)
            skips.append(x if i else pad_end(x))
        skips.pop()
        x = self.dropout(self.position(self.patch(x)))
        x = x.movedim(1, -1)  # features are last in the transformer
        for layer in self.layers:
            x = layer(x)
        x = self.more(self.norm(x).movedim(-1, 1))
        for block in self.decoder:
            x = block(x, skips.pop() if skips else None)
        return self.head(x)
