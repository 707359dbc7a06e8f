"""What a model is worth, on data that its training never saw."""
