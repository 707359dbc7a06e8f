"""An OpenAI-compatible API for one model, which any number of clients share."""
