"""Max-margin two-layer ReLU networks, found exactly by a convex program, with a proof of optimality."""
