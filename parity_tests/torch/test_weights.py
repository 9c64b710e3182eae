"""Arrays and tensors: copies of the same bits, in every dtype and layout."""

import numpy as np
import pytest
import torch
from ml_dtypes import bfloat16

import unet_torch
from unet_spec import InputError, initial_tensors, preset, random_tensors
from unet_torch import weights

DTYPES = {
    torch.float32: np.float32, torch.float64: np.float64, torch.float16: np.float16, torch.bfloat16: bfloat16,
    torch.int64: np.int64,
}  # fmt: skip


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_an_array_is_a_contiguous_copy_of_a_tensor_and_back(dtype):
    tensor = torch.arange(-6.0, 6.0).reshape(3, 4).to(dtype)
    for given in (tensor, tensor.T, tensor[:, 1:3], tensor.T.unsqueeze(0)):
        array = weights.to_array(given)
        assert (array.dtype, array.shape, array.flags.c_contiguous) == (DTYPES[dtype], tuple(given.shape), True)
        assert array.astype(np.float64).tolist() == given.double().tolist()
        back = weights.to_tensor(array)
        assert (back.dtype, back.is_contiguous()) == (dtype, True)
        assert torch.equal(back, given)
        back.zero_()  # neither shares memory with the other
        array[...] = 1
        assert given.double().tolist() == weights.to_array(given).astype(np.float64).tolist()
        assert torch.equal(tensor, torch.arange(-6.0, 6.0).reshape(3, 4).to(dtype))
    with_gradient = torch.ones(2, requires_grad=True)
    assert weights.to_array(with_gradient).tolist() == [1.0, 1.0]


def test_an_array_in_another_order_is_a_contiguous_tensor():
    for dtype in (np.float32, bfloat16):
        array = np.asfortranarray(np.arange(6.0).reshape(2, 3).astype(dtype))
        for given in (array, array[:, ::2], array.T):
            found = weights.to_tensor(given)
            assert found.is_contiguous()
            assert found.double().tolist() == given.astype(np.float64).tolist()


def test_a_network_holds_copies_that_train_but_for_the_fixed_ones():
    config = preset("fcn-8s", widths=(2, 3, 4, 4, 5), hidden=6, out_channels=2)
    model = unet_torch.create(config, None)
    given = random_tensors(config.graph, 0, np.float64)
    before = {name: t.copy() for name, t in given.items()}
    weights.load_tensors(model, given)
    for t in given.values():
        t += 1
    found = weights.tensors(model)
    assert set(found) == set(config.graph.params)
    for name, t in found.items():
        np.testing.assert_array_equal(t, before[name])
        assert t.dtype == np.float64
        t += 1
    for name, t in weights.tensors(model).items():
        np.testing.assert_array_equal(t, before[name])
    trained = {name: p.requires_grad for name, p in model.named_parameters()}
    assert trained == {n: config.graph.params[n].role == "parameter" for n in trained}
    assert set(trained.values()) == {True, False}
    weights.initialize(model, 5)
    for name, t in initial_tensors(config.graph, 5).items():
        np.testing.assert_array_equal(weights.tensors(model)[name].astype(np.float32), t)


def test_counters_of_other_batch_norms_are_left_out_and_missing_tensors_reported():
    model = unet_torch.create(preset("same", widths=(2, 4)))
    counted = torch.nn.SyncBatchNorm.convert_sync_batchnorm(model)
    assert any(name.endswith("num_batches_tracked") for name in counted.state_dict())
    assert set(weights.tensors(counted)) == set(model.config.graph.params)
    given = weights.tensors(model)
    del given["head.bias"]
    with pytest.raises(InputError, match=r"the PyTorch model: .*head\.bias|head\.bias.*the PyTorch model"):
        weights.load_tensors(model, given)
