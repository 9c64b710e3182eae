"""The tensors that networks and losses take and give, for their signatures. Channels come first.

n: images. spatial: the axes of an image. c: its channels. k: classes. out: the axes of the logits, which a network with
valid convolutions makes smaller than the image's.
"""

from jaxtyping import Float, Integer
from torch import Tensor

Image = Float[Tensor, "n c *spatial"]
Logits = Float[Tensor, "n k *out"]
Labels = Integer[Tensor, " n *spatial"]
Weights = Float[Tensor, " n *spatial"]
Scalar = Float[Tensor, ""]
