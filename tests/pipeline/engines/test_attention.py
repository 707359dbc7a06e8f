"""Attention of single rows agrees with torch's own, and decoding takes that way."""

import pytest
import torch
from torch.nn import functional

from mmtui.pipeline.engines import attention, torch_language
from mmtui.pipeline.engines.torch_engine import TorchEngine


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("masked", [False, True])
def test_it_agrees_with_torch(dtype, masked):
    torch.manual_seed(0)
    query, key, value = (torch.randn(3, heads, n, 16, dtype=dtype) for heads, n in
                         ((6, 1), (2, 40), (2, 40)))  # fmt: skip
    mask = None
    if masked:
        mask = torch.ones(3, 1, 1, 44, dtype=torch.bool)
        mask[1, ..., :7] = False
    expected = functional.scaled_dot_product_attention(
        query.double(),
        *(shared.double().repeat_interleave(3, 1) for shared in (key, value)),
        attn_mask=None if mask is None else mask[..., :40],
        scale=0.3,
    )
    with torch.inference_mode():
        got, _ = attention.attend(torch.nn.Module(), query, key, value, mask, scaling=0.3)
    assert got.dtype == dtype
    atol = 1e-5 if dtype == torch.float32 else 1e-2
    torch.testing.assert_close(got.transpose(1, 2).double(), expected, atol=atol, rtol=0)


def test_an_engine_on_a_cpu_uses_it(tiny_llama):
    model = torch_language.load(tiny_llama, precision="fp32")
    TorchEngine(model)
    assert model.model.config._attn_implementation == attention.NAME
