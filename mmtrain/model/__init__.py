"""Loading a model to train or evaluate, its modules, its first weights, and its answers."""
