"""A batch from the gradient of a network with one hidden layer, of which the output layer's may be all that is observed."""

from provable.recovery.batch.output_gradient.method import METHOD, recover, supports

__all__ = ["METHOD", "recover", "supports"]
