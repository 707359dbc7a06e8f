"""A training run: options, pre-flight, the training loop, and the files of the run."""
