"""The arrays that networks and losses take and give, for their signatures. Channels come last.

n: images. spatial: the axes of an image. c: its channels. k: classes. out: the axes of the logits, which a network with
valid convolutions makes smaller than the image's.
"""

from jax import Array
from jaxtyping import Float, Integer

Image = Float[Array, "n *spatial c"]
Logits = Float[Array, "n *out k"]
Labels = Integer[Array, " n *spatial"]
Weights = Float[Array, " n *spatial"]
Scalar = Float[Array, ""]
