"""Specifications of models, checkpoints, and the download of weights."""
