"""One-channel kernels, of which the spaces make their collapsed evaluation."""
