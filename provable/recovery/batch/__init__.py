"""A batch from one gradient of a fully connected network: all samples, their coefficients and their labels."""
