"""Benchmarks of a model on this machine."""
