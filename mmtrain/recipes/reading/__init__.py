"""Pictures with text, drawn or photographed, and questions about what is written in them."""
