"""Arithmetic on values of a model under construction: `x * sigmoid(x)` writes a Sigmoid and a Mul node.

Operands stand in the graph in the order in which they are written; numbers become scalar constants.
"""

from __future__ import annotations

from typing import Any

from models import ModelBuilder


class Term:
    """A value of a model, with Python's operators."""

    def __init__(self, model: ModelBuilder, value: str | None = None) -> None:
        self.model = model
        self.value = model.value if value is None else value

    def op(self, op: str, *others: Term | float | str, **attributes: Any) -> Term:
        """The operator on this term and others; a string is the name of a value, or "" for none."""
        return self._node(op, [self, *others], **attributes)

    def _node(self, op: str, operands: list[Term | float | str], **attributes: Any) -> Term:
        inputs = [self._name(operand) for operand in operands]
        return Term(self.model, self.model.node(op, inputs, **attributes).value)

    def _name(self, operand: Term | float | str) -> str:
        if isinstance(operand, Term):
            return operand.value
        return operand if isinstance(operand, str) else self.model.scalar(operand)

    def __add__(self, other: Term | float) -> Term:
        return self._node("Add", [self, other])

    def __radd__(self, other: float) -> Term:
        return self._node("Add", [other, self])

    def __sub__(self, other: Term | float) -> Term:
        return self._node("Sub", [self, other])

    def __rsub__(self, other: float) -> Term:
        return self._node("Sub", [other, self])

    def __mul__(self, other: Term | float) -> Term:
        return self._node("Mul", [self, other])

    def __rmul__(self, other: float) -> Term:
        return self._node("Mul", [other, self])

    def __truediv__(self, other: Term | float) -> Term:
        return self._node("Div", [self, other])

    def __rtruediv__(self, other: float) -> Term:
        return self._node("Div", [other, self])

    def __pow__(self, other: float) -> Term:
        return self._node("Pow", [self, other])

    def __neg__(self) -> Term:
        return self._node("Neg", [self])


def sigmoid(x: Term) -> Term:
    return x.op("Sigmoid")


def tanh(x: Term) -> Term:
    return x.op("Tanh")


def erf(x: Term) -> Term:
    return x.op("Erf")


def exp(x: Term) -> Term:
    return x.op("Exp")


def log(x: Term) -> Term:
    return x.op("Log")


def relu(x: Term) -> Term:
    return x.op("Relu")


def softplus(x: Term) -> Term:
    return x.op("Softplus")


def sqrt(x: Term) -> Term:
    return x.op("Sqrt")


def reciprocal(x: Term) -> Term:
    return x.op("Reciprocal")
