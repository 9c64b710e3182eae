"""The profile of a training step: kinds of kernel, and a trace of a step that runs here."""

import pytest

from benchmarks.profile import kind_of, profile
from benchmarks.train import jax_steps


@pytest.mark.parametrize(
    ("kernel", "kind"),
    [
        ("sm90_xmma_fprop_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc_tilesize128x128x64", "convolution"),
        ("sm90_xmma_wgrad_indexed_implicit_gemm_bf16bf16_bf16f32_f32_nhwckrsc_nhwc", "convolution"),
        ("void cudnn::ops::nchwToNhwcKernel<__nv_bfloat16>", "change of layout"),
        ("void nchwToNhwcKernel<float>", "change of layout"),
        ("nvjet_sm90_tst_128x128", "matrix product"),
        ("input_reduce_select_fusion_8", "reduction"),
        ("loop_select_fusion", "pointwise"),
        ("MemcpyD2D", "copy"),
        ("ThunkExecutor", "other"),
    ],
)
def test_a_kernel_is_of_the_kind_that_its_name_says(kernel, kind):
    assert kind_of(kernel) == kind


@pytest.mark.slow
def test_a_step_is_taken_apart():
    from unet_spec import preset

    run = jax_steps(preset("paper", widths=(2, 4), dropout=0.0), 44, 1, "float32")
    run(1)
    found = profile(run, steps=3, shown=4)
    assert found["kinds"]["convolution"] > 0
    assert 0 < len(found["kernels"]) <= 4
    longest = [kernel["seconds_per_step"] for kernel in found["kernels"]]
    assert longest == sorted(longest, reverse=True)
    assert sum(found["kinds"].values()) >= sum(longest)
