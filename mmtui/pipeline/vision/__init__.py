"""Pictures to patch features, and those to embeddings."""
