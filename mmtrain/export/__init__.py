"""Export trained models: as a checkpoint, a preset or a GGUF."""
