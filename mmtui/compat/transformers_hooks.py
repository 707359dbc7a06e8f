"""What transformers does not document. See `mmtui.compat` for the versions."""

from typing import Any

import torch


def import_transformers() -> Any:
    """Import transformers without SciPy and scikit-learn.

    transformers imports them with every model, for speculative decoding and for the losses of
    object detection. That takes 1.4 s. Where the flags have other names, it is only slower.
    """
    import transformers
    from transformers.utils import import_utils

    import_utils._scipy_available = import_utils._sklearn_available = False
    return transformers


def quantize_linear_layers(model: Any) -> Any:
    """Replace the linear layers of a model, except `lm_head`, by empty ones in 4 bits (NF4).

    `from_pretrained` does the same, but only together with reading the weights its own way.

    Args:
        model: A transformers model, whose parameters may be on the meta device.

    Returns:
        The model, marked as quantized for PEFT, which then puts its 4-bit adapters over the layers.
    """
    from transformers import BitsAndBytesConfig
    from transformers.integrations import replace_with_bnb_linear

    model = replace_with_bnb_linear(
        model,
        modules_to_not_convert=["lm_head"],
        quantization_config=BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.bfloat16,
        ),
    )
    model.is_loaded_in_4bit = True
    return model
