"""Small LLaVA checkpoints with random weights, in the layout of those on the hub."""

import json
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoConfig,
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
    PreTrainedTokenizerFast,
    SiglipImageProcessor,
    SiglipVisionConfig,
)

# The templates of llava-hf/llava-1.5-7b-hf and llava-hf/llava-interleave-qwen-0.5b-hf.
VICUNA = (
    "{% for message in messages %}{% if message['role'] != 'system' %}"
    "{{ message['role'].upper() + ': '}}{% endif %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>\n' }}{% endfor %}{% if message['role'] != 'assistant' %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ content['text'] + ' '}}{% endfor %}{% else %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{% generation %}{{ content['text'] + ' '}}{% endgeneration %}{% endfor %}{% endif %}"
    "{% endfor %}{% if add_generation_prompt %}{{ 'ASSISTANT:' }}{% endif %}"
)
INTERLEAVE = (
    "{% for message in messages %}{{'<|im_start|>' + message['role'] + ' '}}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'image') %}"
    "{{ '<image>' }}{% endfor %}"
    "{% for content in message['content'] | selectattr('type', 'equalto', 'text') %}"
    "{{ '\n' + content['text'] }}{% endfor %}{{'<|im_end|>'}}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}"
)
LANGUAGES: dict[str, dict[str, Any]] = {
    "llama": {"num_key_value_heads": 2},
    "mistral": {"num_key_value_heads": 2},
    "qwen2": {"num_key_value_heads": 2, "tie_word_embeddings": True},
    "phi": {"partial_rotary_factor": 0.5},
    "phi3": {"num_key_value_heads": 4},
    "gemma": {"num_key_value_heads": 1, "head_dim": 16, "tie_word_embeddings": True},
}
SIDE = 56


def save_llava(
    folder: Path,
    tower: str = "clip",
    language: str = "llama",
    *,
    side: int = SIDE,
    patch: int = 14,
    heads: int = 2,
    **changed: Any,
) -> LlavaForConditionalGeneration:
    """Save a LLaVA checkpoint with its processor, and return the model.

    Args:
        folder: The folder to write.
        tower: "clip" or "siglip".
        language: A key of LANGUAGES.
        side: The side of the pictures that the tower reads, in pixels.
        patch: The side of a patch, in pixels.
        heads: The attention heads of the tower.
        changed: Fields of LlavaConfig that differ from those of LLaVA 1.5.
    """
    torch.manual_seed(len(tower) + len(language))
    tokenizer = _train_tokenizer(bos=language in ("llama", "mistral", "phi3"))
    vision: dict[str, Any] = {
        "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 3,
        "num_attention_heads": heads, "image_size": side, "patch_size": patch,
    }  # fmt: skip
    if tower == "siglip":
        vision["vision_use_head"] = False
    text = AutoConfig.for_model(
        language, vocab_size=336, hidden_size=64, intermediate_size=128, num_hidden_layers=2,
        num_attention_heads=4, max_position_embeddings=512, eos_token_id=2, bos_token_id=1,
        pad_token_id=0, **LANGUAGES[language],
    )  # fmt: skip
    image_token = tokenizer.convert_tokens_to_ids("<image>")
    config = LlavaConfig(
        (CLIPVisionConfig if tower == "clip" else SiglipVisionConfig)(**vision),
        text,
        image_token_index=image_token,
        **changed,
    )
    model = LlavaForConditionalGeneration(config).eval()
    for parameter in model.parameters():  # rounding must not decide which token is most probable
        std = 0.2 if parameter.ndim > 1 else 0.1
        torch.nn.init.normal_(parameter, mean=float(parameter.ndim == 1), std=std)
    model.tie_weights()
    model.save_pretrained(folder)
    processor = LlavaProcessor(
        _make_image_processor(tower, side),
        tokenizer,
        patch_size=patch,
        vision_feature_select_strategy=config.vision_feature_select_strategy,
        chat_template=VICUNA if tower == "clip" else INTERLEAVE,
        num_additional_image_tokens=int(tower == "clip"),
    )
    processor.save_pretrained(folder)
    return model


def save_interleave(folder: Path, **changed: Any) -> LlavaForConditionalGeneration:
    """Save a checkpoint with the files and settings of llava-hf/llava-interleave-qwen-0.5b-hf."""
    model = save_llava(
        folder,
        "siglip",
        "qwen2",
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        **changed,
    )
    template = (folder / "chat_template.jinja").read_text()
    (folder / "chat_template.jinja").unlink()
    (folder / "chat_template.json").write_text(json.dumps({"chat_template": template}))
    tokenizer = json.loads((folder / "tokenizer_config.json").read_text())
    tokenizer["chat_template"] = (  # the language model's own, which knows text only
        "{% for message in messages %}{{'<|im_start|>' + message['role'] + '\n' +"
        " message['content'] + '<|im_end|>' + '\n'}}{% endfor %}"
    )
    (folder / "tokenizer_config.json").write_text(json.dumps(tokenizer))
    return model


def _make_image_processor(tower: str, side: int) -> CLIPImageProcessor | SiglipImageProcessor:
    if tower == "siglip":
        return SiglipImageProcessor(size={"height": side, "width": side})
    return CLIPImageProcessor(
        size={"shortest_edge": side}, crop_size={"height": side, "width": side}
    )


def _train_tokenizer(bos: bool) -> PreTrainedTokenizerFast:
    special = ["<unk>", "<s>", "</s>", "<|im_start|>", "<|im_end|>"]
    core = Tokenizer(models.BPE())
    core.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    core.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=320,
        special_tokens=special,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    core.train_from_iterator(["What is in this picture? A dog and a cat are in it."] * 9, trainer)
    core.add_special_tokens([AddedToken("<image>", special=True, normalized=False)])
    if bos:
        from tokenizers.processors import TemplateProcessing

        core.post_processor = TemplateProcessing("<s> $A", special_tokens=[("<s>", 1)])
    return PreTrainedTokenizerFast(
        tokenizer_object=core,
        bos_token="<s>",
        eos_token="</s>",
        unk_token="<unk>",
        model_input_names=["input_ids", "attention_mask"],
    )
