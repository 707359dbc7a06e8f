"""The stages of training, one module each: the modules that are trained and their data."""
