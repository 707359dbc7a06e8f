"""Image, speech and text in, tokens out. No user interface, no training."""
