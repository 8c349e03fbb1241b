"""Recovery of training data in the kernel regime, where the trained function is a finite sum of kernel functions."""
