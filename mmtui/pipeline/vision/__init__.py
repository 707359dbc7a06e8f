"""From image files to the embeddings of their patches, which the language model reads."""
