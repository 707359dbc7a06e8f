"""One run of a stage: what goes before it, the loop, and what it leaves on the disk."""
