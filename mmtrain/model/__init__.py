"""The modules that are trained, the frozen parts around them, and how a trained model answers."""
