"""Training by gradient descent, in the kernel regime and at finite width, and the observations that it leaves."""
