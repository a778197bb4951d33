"""What figures show, in sentences computed from the numbers."""
