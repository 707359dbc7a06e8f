"""Decoding of recordings and speech recognition."""
