"""Operations of a traced program, said in another form: the same function, computed differently.

A network says which operations it wants; differentiation adds more for each. What a whole differentiated
program does is only seen here, whoever wrote the network.
"""

from collections.abc import Callable, Mapping, Sequence
from functools import wraps
from typing import Any

import jax
from jax.extend import core

# The operands and parameters of an operation -> its result; None: leave this one as it is.
Form = Callable[..., Any]


def rewritten(function: Callable[..., Any], forms: Mapping[str, Form]) -> Callable[..., Any]:
    """Return `function`, its operations computed by those of `forms` that bear their primitive's name."""

    @wraps(function)
    def replaced(*args: Any) -> Any:
        traced, shapes = jax.make_jaxpr(function, return_shape=True)(*args)
        outputs = _evaluate(traced, forms, jax.tree.leaves(args))
        return jax.tree.unflatten(jax.tree.structure(shapes), outputs)

    return replaced


def _evaluate(program: core.ClosedJaxpr, forms: Mapping[str, Form], arguments: Sequence[Any]) -> list[Any]:
    """Return the outputs of a traced program, its operations replaced."""
    jaxpr = program.jaxpr
    values: dict[Any, Any] = dict(zip(jaxpr.constvars, program.consts, strict=True))
    values |= zip(jaxpr.invars, arguments, strict=True)

    def value(atom: Any) -> Any:
        return atom.val if isinstance(atom, core.Literal) else values[atom]

    for equation in jaxpr.eqns:
        operands = [value(atom) for atom in equation.invars]
        form = forms.get(equation.primitive.name)
        result = None if form is None else form(*operands, **equation.params)
        values |= zip(
            equation.outvars, _bound(equation, operands, forms) if result is None else [result], strict=True
        )
    return [value(atom) for atom in jaxpr.outvars]


def _bound(equation: Any, operands: Sequence[Any], forms: Mapping[str, Form]) -> list[Any]:
    """Return the results of an operation that stays, replaced in the programs that it holds."""
    inner = {name: _replaced(param, forms) for name, param in equation.params.items()}
    params = equation.primitive.get_bind_params(inner)
    results = equation.primitive.bind(*operands, **params)
    return results if equation.primitive.multiple_results else [results]


def _replaced(param: Any, forms: Mapping[str, Form]) -> Any:
    """Return a parameter of an operation, rewritten in the programs that it holds: a loop's body."""
    if type(param) in (tuple, list):
        return type(param)(_replaced(item, forms) for item in param)
    if isinstance(param, core.Jaxpr) and not param.constvars:
        return _replaced(core.ClosedJaxpr(param, ()), forms).jaxpr
    if not isinstance(param, core.ClosedJaxpr):
        return param
    inputs = [jax.ShapeDtypeStruct(aval.shape, aval.dtype) for aval in param.in_avals]
    return jax.make_jaxpr(lambda *arguments: _evaluate(param, forms, arguments))(*inputs)
