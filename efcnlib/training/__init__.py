"""Training: optimisers, one step, a CUDA graph of them, the loop; resumable."""
