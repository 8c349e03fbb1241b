"""Dataset distillation by kernels, and its identity with reconstruction: the same loss with fewer atoms than samples."""
