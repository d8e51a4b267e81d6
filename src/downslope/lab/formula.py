"""A typed formula in x and y → a function of two JAX numbers. The text is read, never run.

Python's own grammar parses it, so precedence is the usual one; then each node of the syntax tree is
translated by itself. What is not in the tables below has no translation, so there is nothing that a
hostile formula could call. Every number becomes a JAX float, so that ``9**9**9**9`` is infinite at
once instead of an integer that never ends.
"""

import ast
import operator
import warnings
from collections.abc import Callable
from functools import lru_cache
from typing import Any, NamedTuple

import jax.numpy as jnp

from downslope.errors import OptionError, did_you_mean

LONGEST = 200  # characters
VARIABLES = ("x", "y")
CONSTANTS = {"pi": jnp.pi, "e": jnp.e}
FUNCTIONS: dict[str, tuple[Callable[..., Any], int]] = {  # name → (function, number of arguments)
    "sin": (jnp.sin, 1),
    "cos": (jnp.cos, 1),
    "tan": (jnp.tan, 1),
    "arctan": (jnp.arctan, 1),
    "sinh": (jnp.sinh, 1),
    "cosh": (jnp.cosh, 1),
    "tanh": (jnp.tanh, 1),
    "exp": (jnp.exp, 1),
    "log": (jnp.log, 1),
    "sqrt": (jnp.sqrt, 1),
    "abs": (jnp.abs, 1),
    "min": (jnp.minimum, 2),
    "max": (jnp.maximum, 2),
}
_OPERATORS: dict[type, Callable[..., Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}
# What people type, in the one spelling that Python's grammar knows.
_SPELLINGS = {"^": "**", "·": "*", "×": "*", "−": "-", "÷": "/", "²": "**2", "³": "**3", "π": "pi"}
_KNOWN = f"a formula may use x, y, pi, e, + - * / ^, and {', '.join(FUNCTIONS)}"
_BIGGEST_POWER = 16  # whole powers up to here are products, which have a slope at negative numbers too

Value = Callable[[Any, Any], Any]  # (x, y) → number


class Formula(NamedTuple):
    """A formula that was understood.

    Attributes:
        text: as it was typed.
        value: ``value(x, y) -> number``, differentiable.
        names: which of x and y it uses.
    """

    text: str
    value: Value
    names: frozenset[str]


@lru_cache(maxsize=64)  # the same text gives the same function, which is then compiled only once
def parse_formula(text: str) -> Formula:
    """Return what a formula means.

    Raises:
        OptionError: it is too long, does not parse, or uses what is not in the tables.

    >>> float(parse_formula("x^2 + 3*sin(y)").value(2.0, 0.0))
    4.0
    """
    if not text.strip():
        raise OptionError("the formula is empty; try (x - 1)^2 + 3*y^2")
    if len(text) > LONGEST:
        raise OptionError(f"the formula has {len(text)} characters; {LONGEST} are allowed")
    spelled = "".join(_SPELLINGS.get(character, character) for character in text.strip())
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Python's own remarks, about "3or x"
            tree = ast.parse(spelled, mode="eval").body
    except (SyntaxError, ValueError, MemoryError, RecursionError) as error:
        raise OptionError(f"the formula cannot be read{_where(error, spelled)}") from None
    names = frozenset(node.id for node in ast.walk(tree) if isinstance(node, ast.Name)) & set(VARIABLES)
    value = _translated(tree)
    if not names:
        raise OptionError("the formula uses neither x nor y, so there is no slope to go down")
    return Formula(text, value, names)


def _where(error: BaseException, text: str) -> str:
    """Return where reading stopped, for a person."""
    offset = getattr(error, "offset", None)
    if "never closed" in str(error):
        return ": a bracket is not closed"
    if not offset or offset > len(text):
        return "; is a bracket or a number missing at the end?"
    return f" at '{text[offset - 1 :][:12]}'; write products with *, as in 3*x, and powers with ^"


def _translated(node: ast.expr) -> Value:
    """Return the function of (x, y) that a node of the syntax tree stands for."""
    match node:
        case ast.Constant(value=bool()) | ast.Constant(value=str()) | ast.Constant(value=complex()):
            pass
        case ast.Constant(value=int() | float() as number):
            constant = _as_float(number)
            return lambda x, y: jnp.float32(constant)
        case ast.Name(id=name) if name in VARIABLES:
            return (lambda x, y: jnp.asarray(x)) if name == "x" else (lambda x, y: jnp.asarray(y))
        case ast.Name(id=name) if name in CONSTANTS:
            constant = CONSTANTS[name]
            return lambda x, y: jnp.float32(constant)
        case ast.Name(id=name):
            hint = did_you_mean(name, [*VARIABLES, *CONSTANTS, *FUNCTIONS])
            raise OptionError(f"the formula uses '{name}', which is not known.{hint or f' {_KNOWN}'}")
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            inner = _translated(operand)
            return lambda x, y: -inner(x, y)
        case ast.UnaryOp(op=ast.UAdd(), operand=operand):
            return _translated(operand)
        case ast.BinOp(op=ast.Pow(), left=base, right=exponent):
            return _power(_translated(base), exponent)
        case ast.BinOp(op=op, left=left, right=right) if type(op) in _OPERATORS:
            apply, first, second = _OPERATORS[type(op)], _translated(left), _translated(right)
            return lambda x, y: apply(first(x, y), second(x, y))
        case ast.Call(func=ast.Name(id=name), args=arguments, keywords=[]) if name in FUNCTIONS:
            return _called(name, arguments)
        case ast.Call(func=ast.Name(id=name)) if name in (*VARIABLES, *CONSTANTS):
            raise OptionError(f"the formula: write {name}*(…), with the *, for a product")
        case ast.Call(func=ast.Name(id=name)):
            hint = did_you_mean(name, FUNCTIONS)
            raise OptionError(f"the formula calls '{name}', which is not known.{hint or f' {_KNOWN}'}")
    raise OptionError(
        f"the formula holds '{_shortened(ast.unparse(node))}', which has no meaning here; {_KNOWN}"
    )


def _called(name: str, arguments: list[ast.expr]) -> Value:
    function, n_arguments = FUNCTIONS[name]
    if len(arguments) != n_arguments:
        words = {1: "one number", 2: "two numbers"}[n_arguments]
        raise OptionError(f"the formula: {name} takes {words}, got {len(arguments)}")
    inner = [_translated(argument) for argument in arguments]
    return lambda x, y: function(*(value(x, y) for value in inner))


def _power(base: Value, exponent: ast.expr) -> Value:
    whole = _whole_number(exponent)
    if whole is not None and abs(whole) <= _BIGGEST_POWER:
        return lambda x, y: base(x, y) ** whole
    power = _translated(exponent)
    return lambda x, y: jnp.power(base(x, y), power(x, y))


def _whole_number(node: ast.expr) -> int | None:
    """Return the whole number that a node spells, or None."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        inner = _whole_number(node.operand)
        return None if inner is None else -inner
    if isinstance(node, ast.Constant) and isinstance(node.value, int) and not isinstance(node.value, bool):
        return node.value
    return None


def _as_float(number: int | float) -> float:
    if abs(number) > float(jnp.finfo(jnp.float32).max):
        raise OptionError("the formula holds a number that is too large; use numbers up to 1e38")
    return float(number)


def _shortened(text: str) -> str:
    return text if len(text) <= 30 else text[:29] + "…"
