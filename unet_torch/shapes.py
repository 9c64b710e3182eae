"""Types of the tensors in the signatures of networks and losses. Channels come first.

n: images. spatial: axes of an image. c: its channels. k: classes. out: axes of the logits; with valid convolutions they
    are smaller than the image's.
"""

from jaxtyping import Float, Integer
from torch import Tensor

Image = Float[Tensor, "n c *spatial"]
Logits = Float[Tensor, "n k *out"]
Labels = Integer[Tensor, " n *spatial"]
Weights = Float[Tensor, " n *spatial"]
Scalar = Float[Tensor, ""]
