"""Pre-trained weights: where they come from, their identity, and loading every tensor by name."""
