"""What the predictions for a split say, and the files that keep them."""
