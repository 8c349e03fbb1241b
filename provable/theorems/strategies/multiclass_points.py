"""Exact KKT points of linear classifiers of several classes: instances for theorems on their multipliers.

The problem is min ½‖W‖² subject to (W x_i)_{y_i} - (W x_i)_k ≥ γ for all k ≠ y_i; a KKT point has
W = Σ_ik λ_ik (e_{y_i} - e_k) x_iᵀ with λ_ik ≥ 0, and λ_ik = 0 where the constraint is not tight. It falls apart into blocks
of orthogonal inputs. Two kinds are solved here: one direction with samples of two opposite classes on its two sides, where a
third class lies between them and is the runner-up of both; and one direction with samples of one class, where all other
classes tie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from provable.architectures import Architecture, Linear
from provable.arithmetic import Array
from provable.measures import Measure
from provable.networks import Parameters, embed, forward


@dataclass(frozen=True)
class MulticlassPoint:
    """A linear classifier with samples, their classes and multipliers, all in integers over a common denominator.

    Parameters
    ----------
    parameters : Parameters
        W, times the denominator.
    points : ndarray of shape (n, d)
        x_i.
    classes : tuple of int
        y_i.
    multipliers : ndarray of shape (n, C)
        λ_ik times the denominator; zero at k = y_i.
    """

    parameters: Parameters
    points: Array
    classes: tuple[int, ...]
    multipliers: Array

    @property
    def outputs(self) -> Array:
        """The outputs.

        Returns
        -------
        ndarray of shape (n, C)
            Φ_k(x_i).
        """
        outputs: Array = forward(self.parameters.architecture, self.parameters, self.points)
        return outputs

    def margin(self, sample: int, other: int) -> object:
        """One margin.

        Parameters
        ----------
        sample, other : int
            i and k.

        Returns
        -------
        number
            Φ_{y_i}(x_i) - Φ_k(x_i).
        """
        row = self.outputs[sample]
        return row[self.classes[sample]] - row[other]

    def runners_up(self, sample: int) -> list[int]:
        """The classes with the largest output beside the sample's own.

        Parameters
        ----------
        sample : int
            i.

        Returns
        -------
        list of int
            Two or more if they tie.
        """
        row = self.outputs[sample]
        others = [k for k in range(len(row)) if k != self.classes[sample]]
        largest = max(row[k] for k in others)
        return [k for k in others if row[k] == largest]

    def explained(self, multipliers: Array) -> Array:
        """The right side of the stationarity equation.

        Parameters
        ----------
        multipliers : ndarray of shape (n, C)
            The λ_ik.

        Returns
        -------
        ndarray of shape (P,)
            Σ_ik λ_ik ∇(Φ_{y_i} - Φ_k)(x_i).
        """
        coefficients = -1 * multipliers
        for sample, label in enumerate(self.classes):
            coefficients[sample, label] = coefficients[sample, label] + multipliers[sample].sum()
        vector: Array = embed(
            self.parameters.architecture, self.parameters, Measure(self.points, coefficients)
        ).vector()
        return vector


def linear_classifier(weight: Array) -> Parameters:
    """Wrap a matrix.

    Parameters
    ----------
    weight : ndarray of shape (C, d)
        W.

    Returns
    -------
    Parameters
        Of x ↦ W x with cross-entropy.
    """
    outputs, inputs = weight.shape
    architecture = Architecture("linear", (inputs,), (Linear(outputs, bias=False),), "cross_entropy")
    return Parameters(architecture, {"0/weight": weight})


@st.composite
def multiclass_points(draw: st.DrawFn, *, ties: bool = False) -> MulticlassPoint:
    """KKT points of linear classifiers of three classes, or of two.

    Parameters
    ----------
    ties : bool, optional
        Whether blocks where the other classes tie occur.

    Returns
    -------
    MulticlassPoint
        One to three blocks; some samples are no support vectors.
    """
    classes = 3 if ties or draw(st.integers(0, 3)) else 2
    blocks = draw(st.integers(1, 3))
    kinds = [ties and (block == 0 or draw(st.booleans())) for block in range(blocks)]
    dimension = 2 * blocks
    weight, points, labels, multipliers = np.zeros((classes, dimension)), [], [], []
    for block, tied in enumerate(kinds):
        order = list(draw(st.permutations(range(classes))))
        scale = float(draw(st.sampled_from((1, 2, 4))))
        direction, side = np.eye(dimension)[2 * block], np.eye(dimension)[2 * block + 1]
        # x = s e with multiplier λ puts λ s into the block's column; the margins are to be one number, 12
        if tied:
            # two other classes: margin s² (2 λ + λ)
            shares = {order[1]: 4 / scale**2, order[2]: 4 / scale**2}
            sides = [(1.0, order[0], shares)]
        elif classes == 2:
            sides = [(1.0, order[0], {order[1]: 6 / scale**2})]
        else:
            # ±x for the classes p and q, the third between them: margins s² λ to it, and twice that to each other
            amount = 12 / scale**2
            sides = [(1.0, order[0], {order[2]: amount}), (-1.0, order[1], {order[2]: amount})]
        for sign, label, shares in sides:
            offset = float(draw(st.integers(0, 1)))
            row = np.zeros(classes)
            for other, amount in shares.items():
                row[other] = amount / 2
                weight[label] += amount * sign * scale * direction
                weight[other] -= amount * sign * scale * direction
            # two samples whose mean is the support vector, since nothing reads the other coordinate
            for shift in (offset, -offset):
                points.append(sign * scale * direction + shift * side)
                labels.append(label)
                multipliers.append(row)
            if draw(st.booleans()):
                points.append(2 * sign * scale * direction)
                labels.append(label)
                multipliers.append(np.zeros(classes))
    return MulticlassPoint(linear_classifier(weight), np.array(points), tuple(labels), np.array(multipliers))
