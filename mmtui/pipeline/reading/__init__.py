"""Optical character recognition: the text that is written in pictures."""
