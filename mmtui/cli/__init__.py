"""The commands of `mmtui`. What is heavy is imported by the command that needs it."""
