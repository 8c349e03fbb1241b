"""Training data from the change of the parameters, by matching it with the tangents of candidates.

`loo2024` is the attack of Loo, Hasani, Lechner, Amini and Rus as released; `alternating_projections` is exact where there are
at most as many samples as dimensions.
"""
