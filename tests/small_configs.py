"""Configurations of models that train in seconds."""

NANO = {
    "model_type": "phi", "hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2,
    "num_attention_heads": 4, "partial_rotary_factor": 0.5, "vocab_size": 400,
    "max_position_embeddings": 128,
}  # fmt: skip
