"""Triton kernels, a weight's gradient fused with the optimiser's update of that weight; and products in bf16.

A kernel runs only where it is asked for by name; where it cannot, that is a UserError. ``efcn bench kernels`` times
them on a GPU; no timing is recorded yet.
"""
