"""Types of the arrays in the signatures of networks and losses. Channels come last.

n: images. spatial: axes of an image. c: its channels. k: classes. out: axes of the logits; with valid convolutions they
    are smaller than the image's.
"""

from jax import Array
from jaxtyping import Float, Integer

Image = Float[Array, "n *spatial c"]
Logits = Float[Array, "n *out k"]
Labels = Integer[Array, " n *spatial"]
Weights = Float[Array, " n *spatial"]
Scalar = Float[Array, ""]
