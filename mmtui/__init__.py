"""mmtui: a terminal chat that sees, hears and answers, on your own machine."""

__version__ = "0.1.0"
