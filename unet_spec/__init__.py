"""The definition of a network: config, layer graph, geometry, weights. Needs only NumPy and safetensors."""

from .errors import InputError
from .families.unet import UNetConfig
from .geometry import Field, Geometry
from .graph import Graph, Node
from .grid import Grid
from .network import Family, NetworkConfig
from .registry import FAMILIES, PRESETS, narrow, preset, preset_names
from .weights.adapt import adapt, take_weights
from .weights.check import check_tensors
from .weights.checkpoint import Checkpoint, is_checkpoint
from .weights.data_spec import DataSpec
from .weights.installed import find_network, installed_networks
from .weights.randomize import initial_tensors, random_tensors

__all__ = [
    "FAMILIES",
    "PRESETS",
    "Checkpoint",
    "DataSpec",
    "Family",
    "Field",
    "Geometry",
    "Graph",
    "Grid",
    "InputError",
    "NetworkConfig",
    "Node",
    "UNetConfig",
    "adapt",
    "check_tensors",
    "find_network",
    "initial_tensors",
    "installed_networks",
    "is_checkpoint",
    "narrow",
    "preset",
    "preset_names",
    "random_tensors",
    "take_weights",
]
