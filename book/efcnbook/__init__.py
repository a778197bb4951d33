"""efcnbook: the report: statistics over seeds, figures, claims, the explorer, and the pages of the book."""
