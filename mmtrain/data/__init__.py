"""One module per format of data, and what lies between a format and a batch."""
