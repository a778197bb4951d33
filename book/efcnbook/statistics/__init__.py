"""Numbers over seeds: means, intervals, where runs come from."""
