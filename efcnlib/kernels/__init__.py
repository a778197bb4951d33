"""Triton kernels, each in its own file; tests compare them with plain PyTorch in float64.

- `wgrad_sgd`, `wgrad_adam`: a weight's gradient, a product, fused with the optimiser's update of that weight

UNPROVEN: they have not been measured on a GPU, so they are never the default. They run only where asked for by name,
and what cannot run is a UserError, never a silent fallback to PyTorch. This package imports nothing; its modules import
Triton, which not every PyTorch has.

Tests run them on a GPU where there is one, else in Triton's interpreter (TRITON_INTERPRET=1 before Triton is imported),
and compile them for sm_90 on any machine, reading the machine code for spills.
"""
