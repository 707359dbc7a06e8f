"""Everything that reads or writes GGUF, llama.cpp's file format."""
