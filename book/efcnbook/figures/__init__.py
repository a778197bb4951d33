"""Arrays -> figures, with the numbers that they draw."""
