"""What a network is: config, layer graph, geometry, weight map, checkpoint. Needs NumPy and safetensors only."""

from unet_spec.checkpoint import Checkpoint, DataSpec, is_checkpoint
from unet_spec.config import PRESETS, UNetConfig, preset, preset_names
from unet_spec.errors import InputError
from unet_spec.families import FAMILY_PRESETS
from unet_spec.geometry import Field, Geometry, Grid
from unet_spec.graph import Graph, Node, check_tensors
from unet_spec.network import NetworkConfig
from unet_spec.randomize import initial_tensors, random_tensors

__all__ = [
    "FAMILY_PRESETS",
    "PRESETS",
    "Checkpoint",
    "DataSpec",
    "Field",
    "Geometry",
    "Graph",
    "Grid",
    "InputError",
    "NetworkConfig",
    "Node",
    "UNetConfig",
    "check_tensors",
    "initial_tensors",
    "is_checkpoint",
    "preset",
    "preset_names",
    "random_tensors",
]
