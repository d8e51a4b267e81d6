"""JAX and Optax by hand, written for speed: an epoch is one compiled call, a `lax.scan` over its batches."""

from functools import partial
from typing import Any

from benchmarks.peers.stages import Stages
from benchmarks.workloads import Workload


def run(workload: Workload, threads: int, *, whole_epochs: bool = True) -> dict[str, Any]:
    arrays = workload.arrays()
    stages = Stages()
    import jax
    import numpy as np
    import optax

    from benchmarks.peers import jax_network as networks

    stages.imported()
    rule = networks.rule(workload)
    x, y = jax.device_put(arrays)
    weights = jax.device_put(workload.weights())
    carry = weights, rule.init(weights), networks.running_averages(workload), jax.random.key(workload.seed)
    random = np.random.default_rng(workload.seed)

    def step(carry: Any, rows: Any, x: Any, y: Any) -> Any:
        weights, state, averages, key = carry
        key, now = jax.random.split(key)
        loss = partial(networks.loss_of, workload)
        gradient, averages = jax.grad(loss, has_aux=True)(weights, averages, x[rows], y[rows], now)
        updates, state = rule.update(gradient, state, weights)
        return optax.apply_updates(weights, updates), state, averages, key

    def epoch(carry: Any, order: Any, x: Any, y: Any) -> Any:
        return jax.lax.scan(lambda carry, rows: (step(carry, rows, x, y), None), carry, order)[0]

    def new_order() -> Any:
        return random.permutation(workload.rows).astype(np.int32).reshape(-1, workload.batch_size)

    stages.ready()
    function, order = (epoch, new_order()) if whole_epochs else (step, new_order()[0])
    run = jax.jit(function, donate_argnums=0).lower(carry, order, x, y).compile()
    stages.compiled()

    def one_epoch() -> None:
        nonlocal carry
        if whole_epochs:
            carry = run(carry, new_order(), x, y)
        else:
            for rows in new_order():
                carry = run(carry, rows, x, y)
        jax.block_until_ready(carry)

    stages.train(one_epoch, workload.epochs)
    final_loss = networks.training_loss(workload, carry[0], carry[2], x, y)
    return stages.record(final_loss=final_loss, threads=threads)
