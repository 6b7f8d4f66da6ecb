"""The saved model: write it, load it, predict with it."""
