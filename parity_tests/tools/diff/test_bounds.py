"""Other losses of precision are distinguished from rounding."""

import pytest

jax = pytest.importorskip("jax", reason="jax is not installed; pip install 'unet-twins[jax]'")
torch = pytest.importorskip("torch", reason="torch is not installed; pip install 'unet-twins[torch]'")
import unet_torch.nn.pointwise as torch_pointwise

from .twins import diff, twins


def test_another_loss_of_precision_is_distinguished_from_rounding():
    """A layer that computes in float32 within a float64 network: an error of 1e-8, which a test at 1e-3 would not
    detect."""
    torch_model, jax_model = twins()

    class Single(torch_pointwise.Activation):
        def forward(self, x):
            return super().forward(x.float()).double()

    torch_model.encoder[1].act2.__class__ = Single
    report = diff(torch_model, jax_model)
    assert [s.name for s in report.steps if s.verdict == "differs"] == ["encoder.1.act2"]
    assert 1e-9 < report.first().worst.own < 1e-7
