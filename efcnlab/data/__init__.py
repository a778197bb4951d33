"""Data sets: the known ones and one's own, fetched, verified, kept."""
