"""The commands of `mmtrain`. Heavy libraries are imported by the command that needs them."""
