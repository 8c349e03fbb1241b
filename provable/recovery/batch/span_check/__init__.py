"""Every sample of a batch on its own, by the spaces that the gradients of fully connected layers span."""

from provable.recovery.batch.span_check.method import METHOD

__all__ = ["METHOD"]
