"""Limits of what users can choose, for commands, settings and requests."""

MAX_TEMPERATURE = 10.0  # where all tokens are about equally probable
MAX_PARALLEL = 32  # requests that are answered together; each needs a KV cache
