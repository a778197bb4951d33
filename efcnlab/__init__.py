"""efcnlab: the experiments: studies as data, a store of runs, what computes them, and the command `efcn`."""
