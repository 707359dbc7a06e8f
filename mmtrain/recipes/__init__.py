"""How the training set of `smol` is made: questions, pseudo-labels, replay, and their mix."""
