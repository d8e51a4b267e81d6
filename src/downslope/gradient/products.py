"""How the matrix products of the forward and the backward pass are computed.

A network says which products it wants; differentiation adds two more for each. This is the one place
that sees them all, whoever wrote the network, and may say them in the form that is most accurate and
quickest on the device. What is computed stays the same.
"""

from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

import jax
from jax.extend import core

Product = Callable[..., Any]  # the arguments of jax.lax.dot_general


def with_product(function: Callable[..., Any], product: Product) -> Callable[..., Any]:
    """Return `function`, each `jax.lax.dot_general` of it computed by `product` instead."""

    @wraps(function)
    def replaced(*args: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        outputs = _evaluate(traced, product, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return replaced


def _evaluate(program: core.ClosedJaxpr, product: Product, arguments: Sequence[Any]) -> list[Any]:
    """Return the outputs of a traced program, its products replaced."""
    jaxpr = program.jaxpr
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [value(atom) for atom in equation.invars]
        if equation.primitive.name == "dot_general":
            results = [product(*operands, **equation.params)]
        else:
            inner = {name: _replaced(param, product) for name, param in equation.params.items()}
            params = equation.primitive.get_bind_params(inner)
            results = equation.primitive.bind(*operands, **params)
            results = results if equation.primitive.multiple_results else [results]
        values |= zip(equation.outvars, results, strict=True)
    return [value(atom) for atom in jaxpr.outvars]


def _replaced(param: Any, product: Product) -> Any:
    """Return a parameter of an operation, products replaced in the programs that it holds: a loop's body."""
    if type(param) in (tuple, list):
        return type(param)(_replaced(item, product) for item in param)
    if isinstance(param, core.Jaxpr) and not param.constvars:
        return _replaced(core.ClosedJaxpr(param, ()), product).jaxpr
    if not isinstance(param, core.ClosedJaxpr):
        return param
    inputs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in param.in_avals]
    return jax.make_jaxpr(lambda *arguments: _evaluate(param, product, arguments))(*inputs)
