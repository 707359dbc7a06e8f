"""A client for servers that speak OpenAI's chat completions protocol."""
