"""One module per stage: what is trained, on which batches, with which loss."""
