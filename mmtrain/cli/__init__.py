"""The commands of `mmtrain`. What is heavy is imported by the command that needs it."""
