"""Names of the files and folders of checkpoints, adapters and weights."""

# A checkpoint.
SPEC_FILE = "spec.json"
PROJECTOR_FILE = "projector.safetensors"
ADAPTER_FOLDER = "adapter"
LANGUAGE_FOLDER = "language"

# A PEFT adapter.
ADAPTER_CONFIG_FILE = "adapter_config.json"
ADAPTER_WEIGHTS_FILE = "adapter_model.safetensors"

# A language model; its safetensors weights may be split into several files.
WEIGHTS_FILE = "model.safetensors"
WEIGHTS_PATTERN = "model*.safetensors"
WEIGHTS_INDEX_FILE = "model.safetensors.index.json"
GGUF_FILE = "model.gguf"

# A vision tower in open_clip's layout.
OPEN_CLIP_CONFIG_FILE = "open_clip_config.json"
OPEN_CLIP_WEIGHTS_FILE = "open_clip_model.safetensors"
