"""All outputs of a network by name: its logits, those of its side heads, and, with a latent variable, the distributions
and sampled hypotheses.

`of_reference` computes them from the graph; `of_model` and `one_pass` compute them with a twin of either framework.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from unet_spec import Graph, NetworkConfig
from unet_spec.families.probabilistic_unet import NOISE, SEGMENTATION
from unet_spec.ops import Average, LatentInput

Arrays = Mapping[str, np.ndarray]


def further_inputs(config: NetworkConfig, image: np.ndarray) -> dict[str, np.ndarray]:
    """Further inputs of a network with a latent variable: "noise" (2, N, latent), for two hypotheses, in the image's
    dtype, and "segmentation" (N, *spatial), class numbers. Empty for all others."""
    latent = [node.op for node in config.graph if isinstance(node.op, LatentInput)]
    if not latent:
        return {}
    rng = np.random.default_rng(13)
    noise = rng.normal(size=(2, len(image), latent[0].features)).astype(np.float32).astype(image.dtype)
    return {NOISE: noise, SEGMENTATION: rng.integers(0, config.classes, image.shape[:-1])}


def heads(graph: Graph) -> tuple[str, ...]:
    """The nodes of `outputs()` of a network with side heads: all heads, without their average."""
    return graph.auxiliary if isinstance(graph.output.op, Average) else (*graph.auxiliary, graph.output.name)


def of_model(model: Any, image: Any, inputs: Mapping[str, Any]) -> dict[str, Any]:
    """All outputs of a twin in evaluation mode, in its framework's layout."""
    found = {"logits": model(image)} | one_pass(model, image, inputs)
    if inputs:
        hypotheses = model.sample(image, inputs[NOISE])
        found |= {f"hypothesis {i}": logits for i, logits in enumerate(hypotheses)}
        found["hypothesis alone"] = model(image, noise=inputs[NOISE][0])
        found["hypotheses of one image"] = model(image[:1], noise=inputs[NOISE][:, 0])
    return found


def one_pass(model: Any, image: Any, inputs: Mapping[str, Any], *rngs: Any) -> dict[str, Any]:
    """The outputs of one call that runs every layer once, as in training: the heads, the reconstruction, or the
    logits."""
    graph = model.config.graph
    if inputs:
        logits, posterior, prior = model.reconstruct(image, inputs[SEGMENTATION], inputs[NOISE][0])
        return {"reconstruction": logits} | _distribution("posterior", posterior) | _distribution("prior", prior)
    if graph.auxiliary:
        return dict(zip(heads(graph), model.outputs(image, *rngs), strict=True))
    return {"logits": model(image, *rngs)}


def _distribution(of: str, parameters: Any) -> dict[str, Any]:
    return {f"{of}.mean": parameters[0], f"{of}.log_std": parameters[1]}


def of_reference(
    graph: Graph, tensors: Arrays, image: np.ndarray, inputs: Arrays, training: bool = False
) -> dict[str, np.ndarray]:
    """The same in NumPy, channels last, in the dtype of the tensors, which include dropout masks."""
    if not inputs:
        keep = (*graph.auxiliary, graph.output.name)
        values = graph.activations(tensors, image, training, keep)
        sides = {name: values[name] for name in heads(graph)} if graph.auxiliary else {}
        return {"logits": values[graph.output.name]} | sides
    wanted = {"logits": graph.forward(tensors, image, training)}
    for i, noise in enumerate(inputs[NOISE]):
        given = {NOISE: _as_map(noise, graph)}
        wanted[f"hypothesis {i}"] = graph.forward(tensors, image, training, given)
    wanted["hypothesis alone"] = wanted["hypothesis 0"]
    wanted["hypotheses of one image"] = np.stack([wanted[f"hypothesis {i}"][0] for i in range(len(inputs[NOISE]))])
    given, parameters = posterior_inputs(graph, tensors, image, inputs, training)
    return wanted | parameters | {"reconstruction": graph.forward(tensors, image, training, {NOISE: given[NOISE]})}


def posterior_inputs(
    graph: Graph, tensors: Arrays, image: np.ndarray, inputs: Arrays, training: bool = False
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """The further inputs with which the graph, which samples from the prior, computes the reconstruction: the noise
    that maps the prior to the posterior's sample; and both distributions."""
    given = {SEGMENTATION: inputs[SEGMENTATION][..., None].astype(image.dtype)}
    values = graph.activations(tensors, image, training, ("posterior.head", "prior.head"), given)
    found = {}
    for name in ("posterior", "prior"):
        found |= _distribution(name, np.split(values[f"{name}.head"].reshape(len(image), -1), 2, axis=-1))
    sample = found["posterior.mean"] + np.exp(found["posterior.log_std"]) * inputs[NOISE][0]
    noise = (sample - found["prior.mean"]) / np.exp(found["prior.log_std"])
    return given | {NOISE: _as_map(noise, graph)}, found


def _as_map(vectors: np.ndarray, graph: Graph) -> np.ndarray:
    """Reshapes (N, latent) to a map of one pixel, (N, 1, …, latent)."""
    return vectors.reshape(len(vectors), *[1] * graph.spatial_dims, -1)
