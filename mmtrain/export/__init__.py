"""What a run leaves to be used elsewhere: a checkpoint, a preset, a GGUF."""
