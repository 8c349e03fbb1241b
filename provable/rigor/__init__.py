"""Proofs by computation: exact ranks modulo a prime, outward-rounded balls, and certificates that others can check."""
