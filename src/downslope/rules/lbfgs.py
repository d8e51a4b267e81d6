"""L-BFGS, through Optax, for deterministic full-batch problems."""

from dataclasses import replace

import optax

from downslope.rules.ranges import counts
from downslope.rules.rule import Rule, from_optax


def lbfgs(memory: int = 10) -> Rule:
    """L-BFGS: the gradient times an approximate inverse Hessian, from the last few steps.

        d = H·g,  with H from the pairs (xᵢ₊₁ − xᵢ, gᵢ₊₁ − gᵢ)

    Not among the rules of the command line: it needs the exact gradient (the whole batch) and a step size
    from a line search, `downslope.stepsize.linesearch`.

    Args:
        memory: how many pairs are kept, ≥ 1.

    Default learning rate 1.0. Memory: 2·`memory` + 2 numbers per parameter.

    Paper: Liu & Nocedal 1989, "On the limited memory BFGS method for large scale optimization",
    Algorithm 2.1.
    """
    hyper = counts("lbfgs", memory=(memory, "[1, inf)"))
    rule = from_optax(optax.chain(optax.scale_by_lbfgs(memory_size=memory), optax.scale(-1.0)), "lbfgs")
    return replace(rule, hyperparameters=dict(hyper))
