"""Each operation in PyTorch is that of the specification; options differ from axis to axis."""

import numpy as np
import pytest

torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
pytest.importorskip("onnx", reason="onnx is not installed; pip install 'unet-twins[onnx]'")
from unet_export.onnx.lowering import DepthToSpace
from unet_spec import ops
from unet_spec.graph import Node
from unet_tools.checking.torch_reference import _compute

OPS = [
    (ops.Conv(3, 4, (3, 1), (2, 1), (1, 0)), [(2, 7, 6, 3)]),
    (ops.Conv(3, 4, (3, 1, 3), (1, 2, 1), (0, 0, 1), bias=False), [(1, 5, 6, 7, 3)]),
    (ops.ConvTranspose(3, 4, (2, 3), (2, 3)), [(2, 4, 3, 3)]),
    (ops.ConvTranspose(3, 4, (1, 2, 2), (1, 2, 2), bias=False), [(1, 2, 3, 4, 3)]),
    (DepthToSpace((2, 2)), [(2, 3, 4, 12)]),
    (ops.MaxPool((2, 3)), [(2, 4, 6, 3)]),
    (ops.MaxPool((1, 2, 2)), [(1, 3, 4, 6, 3)]),
    (ops.Upsample(2, True), [(2, 3, 4, 3)]),
    (ops.Upsample(3, False), [(2, 3, 4, 3)]),
    (ops.Upsample(2, False), [(1, 2, 3, 4, 3)]),
    (ops.PlainInstanceNorm(3, 0.5), [(2, 4, 5, 3)]),
    (ops.InstanceNorm(3, 0.5), [(2, 4, 5, 3)]),
    (ops.GroupNorm(4, 0.5, 2), [(2, 4, 5, 4)]),
    (ops.Activation("relu"), [(2, 3, 4, 2)]),
    (ops.Dropout(0.5), [(2, 3, 4, 2)]),
    (ops.Concat(), [(2, 3, 4, 2), (2, 3, 4, 3)]),
    (ops.Crop((1, 2)), [(2, 5, 7, 2)]),
    (ops.Pad((1, 2)), [(2, 3, 4, 2)]),
    (ops.Pad((0, 1, 2)), [(1, 2, 3, 4, 2)]),
]


@pytest.mark.parametrize(("op", "shapes"), OPS, ids=[f"{i}-{op.kind}" for i, (op, _) in enumerate(OPS)])
def test_an_operation_is_that_of_the_specification(op, shapes):
    rng = np.random.default_rng(0)
    inputs = [rng.normal(1, 2, shape) for shape in shapes]
    params = {name: rng.normal(size=p.shape) for name, p in op.parameters().items()}
    given = [torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))) for x in inputs]
    own = {name: torch.from_numpy(p) for name, p in params.items()}
    found = _compute(Node("a", op, ("b",) * len(inputs)), given, own).numpy()
    np.testing.assert_allclose(np.moveaxis(found, 1, -1), op.compute(params, *inputs), rtol=1e-9, atol=1e-12)
