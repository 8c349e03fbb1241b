"""Stationary points of trained networks: what they satisfy, how to verify one, and which other data have it too."""
