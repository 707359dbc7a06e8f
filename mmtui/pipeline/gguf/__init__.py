"""Reading and writing of GGUF, the file format of llama.cpp."""
