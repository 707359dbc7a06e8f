"""Decoding, by torch or by llama.cpp; sampling, and what makes either fast."""
