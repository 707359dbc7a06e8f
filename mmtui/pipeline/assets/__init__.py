"""What a model is made of, and where its weights come from."""
