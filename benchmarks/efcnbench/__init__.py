"""efcnbench: ways of training timed against each other, each checked against a float64 reference first."""
