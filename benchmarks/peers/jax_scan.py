"""JAX and Optax by hand, written for speed: an epoch is one compiled call, a `lax.scan` over its batches."""

import time
from functools import partial
from typing import Any

from benchmarks.workloads import Workload


def run(workload: Workload, threads: int, *, whole_epochs: bool = True) -> dict[str, Any]:
    arrays = workload.arrays()
    began = time.perf_counter()
    import jax
    import numpy as np
    import optax

    from benchmarks.peers import jax_network as networks

    imported = time.perf_counter()
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

    ready = time.perf_counter()
    function, order = (epoch, new_order()) if whole_epochs else (step, new_order()[0])
    run = jax.jit(function, donate_argnums=0).lower(carry, order, x, y).compile()
    compiled = time.perf_counter()

    epoch_seconds = []
    for _ in range(workload.epochs):
        start = time.perf_counter()
        if whole_epochs:
            carry = run(carry, new_order(), x, y)
        else:
            for rows in new_order():
                carry = run(carry, rows, x, y)
        jax.block_until_ready(carry)
        epoch_seconds.append(time.perf_counter() - start)
    return {
        "import_seconds": imported - began,
        "setup_seconds": ready - imported,
        "compile_seconds": compiled - ready,
        "epoch_seconds": epoch_seconds,
        "final_loss": networks.training_loss(workload, carry[0], carry[2], x, y),
        "threads": threads,
    }
