"""The layers of a network in Flax NNX, made by one factory. `unet_torch/nn/layers.py` is the same in PyTorch."""

from __future__ import annotations

from typing import Any

from flax import nnx
from jax.typing import DTypeLike

from unet_spec import NetworkConfig

from . import spatial
from .convolution import Conv, Fixed, StdConv, UpConv
from .norm import BatchNorm
from .pointwise import Activation, Identity, PReLU
from .spatial import Sizes, per_axis

NORMS = ("none", "batch", "shift", "group", "instance", "plain", "layer")


class _NoKeys:
    """The random keys of Flax's layers, which require some. Initial weights are 0 or 1, which use none, and making a
    key for each takes most of the time of building a network."""

    def params(self) -> None:
        return None


class Layers:
    """Makes the layers of one network according to its config. Weights are 0 until they are loaded.

    Kernels, strides and windows are one number for all axes, or one number per axis. These fields of the config are
    used; missing fields have the value in brackets:

        spatial_dims: number of axes.
        padding: padding of convolutions, "same" or "valid" ("same").
        conv_bias: whether the convolutions of the blocks have a bias (True).
        norm: norm of the blocks, one of NORMS ("batch"). "shift" is a batch norm without a scale, "plain" an instance
            norm without scale and shift; "layer" normalises over the channels of each position.
        norm_eps, norm_momentum, norm_groups: of the norms (1e-5, 0.1, 8); momentum is the share of the new batch.
        activation, slope: of the blocks, one of `ACTIVATIONS` or "prelu", and that of leaky_relu ("relu", 0.01).

    Args:
        config: the network.
        dtype: dtype of the parameters and statistics.
        norm, bias: values that replace those of the config.
    """

    def __init__(self, config: NetworkConfig, dtype: DTypeLike, *, norm: str | None = None, bias: bool | None = None):
        def field(name: str, default: Any) -> Any:
            return getattr(config, name, default)

        self.dims, self.dtype = config.spatial_dims, dtype
        self.valid: bool = field("padding", "same") == "valid"
        self.bias: bool = field("conv_bias", True) if bias is None else bias
        self.norm_kind: str = norm or field("norm", "batch")
        self.eps: float = field("norm_eps", 1e-5)
        self.momentum: float = field("norm_momentum", 0.1)
        self.groups: int = field("norm_groups", 8)
        self.activation: str = field("activation", "relu")
        self.slope: float = field("slope", 0.01)
        self.rngs: Any = _NoKeys()

    def conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes = 3,
        stride: Sizes = 1,
        pad: Sizes | None = None,
        bias: bool = True,
    ) -> Conv:
        """A convolution. `pad`: number of zeros per side; default (kernel − 1) / 2 or, in a valid network, 0."""
        return self._conv(Conv, channels_in, channels_out, kernel, stride, pad, bias)

    def std_conv(self, channels_in: int, channels_out: int, kernel: Sizes = 3, stride: Sizes = 1) -> StdConv:
        """A weight-standardised convolution without bias, padded by (kernel − 1) / 2 zeros per side."""
        return self._conv(StdConv, channels_in, channels_out, kernel, stride, None, False)

    def up_conv(
        self,
        channels_in: int,
        channels_out: int,
        kernel: Sizes = 2,
        stride: Sizes = 2,
        cut: tuple[int, int] = (0, 0),
        bias: bool = True,
        trained: bool = True,
    ) -> nnx.ConvTranspose:
        """A transposed convolution, cropped by `cut` pixels at the low and at the high end. With `trained` False, no
        optimizer changes its kernel."""
        window, strides = per_axis(kernel, self.dims), per_axis(stride, self.dims)
        cls = UpConv if window == strides and cut == (0, 0) else nnx.ConvTranspose
        layer: Any = cls(
            channels_in,
            channels_out,
            window,
            strides,
            padding=[(n - 1 - cut[0], n - 1 - cut[1]) for n in window],
            use_bias=bias,
            transpose_kernel=True,
            kernel_init=nnx.initializers.zeros,
            param_dtype=self.dtype,
            rngs=self.rngs,
        )
        if not trained:
            layer.kernel = Fixed(layer.kernel[...])
        return layer

    def linear(self, features_in: int, features_out: int) -> nnx.Linear:
        """A linear layer over the features of each position."""
        zeros = nnx.initializers.zeros
        return nnx.Linear(features_in, features_out, kernel_init=zeros, param_dtype=self.dtype, rngs=self.rngs)

    def norm(
        self, features: int, kind: str | None = None, *, groups: int | None = None, eps: float | None = None
    ) -> nnx.Module:
        """A norm. `kind`, `groups` and `eps` default to the network's."""
        kind, eps = kind or self.norm_kind, self.eps if eps is None else eps
        affine = kind != "plain"
        options = {"epsilon": eps, "use_fast_variance": False, "param_dtype": self.dtype, "rngs": self.rngs}
        match kind:
            case "none":
                return Identity()
            case "batch" | "shift":
                return BatchNorm(features, eps, self.momentum, self.dtype, use_scale=kind == "batch")
            case "group":
                return nnx.GroupNorm(features, groups or self.groups, **options)
            case "instance" | "plain":
                return nnx.InstanceNorm(features, use_scale=affine, use_bias=affine, **options)
            case "layer":
                return nnx.LayerNorm(features, **options)
        raise ValueError(f"unknown norm {kind!r}; known: {', '.join(NORMS)}")

    def act(self, kind: str | None = None) -> nnx.Module:
        """An activation; by default the network's."""
        kind = kind or self.activation
        if kind == "prelu":
            return PReLU(self.dtype)
        return Activation(kind, self.slope)

    def dropout(self, rate: float) -> nnx.Dropout:
        """Dropout of single values, not of whole channels."""
        return nnx.Dropout(rate)

    def position_embedding(self, features: int, grid: tuple[int, ...]) -> spatial.PositionEmbedding:
        """A trained vector for each position of `grid`."""
        return spatial.PositionEmbedding(features, grid, self.dtype)

    # These do not depend on the config.
    max_pool, avg_pool, window_max_pool = spatial.MaxPool, spatial.AvgPool, spatial.WindowMaxPool
    global_avg_pool, drop_block = spatial.GlobalAvgPool, spatial.DropBlock
    upsample, nearest_upsample = spatial.Upsample, spatial.NearestUpsample

    def _conv(self, cls, channels_in, channels_out, kernel, stride, pad, bias):
        window = per_axis(kernel, self.dims)
        if pad is None:
            pad = 0 if self.valid else tuple((n - 1) // 2 for n in window)
        return cls(
            channels_in,
            channels_out,
            window,
            per_axis(stride, self.dims),
            padding=[(n, n) for n in per_axis(pad, self.dims)],
            use_bias=bias,
            kernel_init=nnx.initializers.zeros,
            param_dtype=self.dtype,
            rngs=self.rngs,
        )
