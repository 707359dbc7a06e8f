"""Microphone and loudspeaker, without a user interface."""
