"""Where results are kept: run folders, locks, checkpoints, recorded studies."""
