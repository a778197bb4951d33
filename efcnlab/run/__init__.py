"""From a study to its results: what to compute, in which order, how long it takes, here or on a cluster."""
