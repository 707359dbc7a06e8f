"""Recordings to samples, samples to text."""
