"""How many dimensions of the input all gradients together leave open: proofs from below and from above."""
