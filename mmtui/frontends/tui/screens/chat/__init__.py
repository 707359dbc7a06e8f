"""The chat screen, and what is done on it: commands, recordings, mentioned files."""
