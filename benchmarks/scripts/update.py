"""One process that steps: python -m benchmarks.scripts.update ROUNDS BLOCKS SYSTEM …

With 0 rounds two steps are done and nothing else: what the process then took is the system's memory.
"""

import json
import sys
import time
from collections.abc import Callable

import numpy as np

from benchmarks.speed_parts.update import COPIES, shapes

LEARNING_RATE, WEIGHT_DECAY = 1e-3, 0.01


def main(rounds: int, blocks: int, names: list[str]) -> None:
    sizes = shapes(blocks=blocks)
    n_params = sum(int(np.prod(shape)) for shape in sizes)
    steps = {name: MAKERS[name](sizes) for name in names}
    copies = {name: copying(name, n_params) for name in (COPIES if rounds else ())}
    first = {name: _seconds(step) for name, step in steps.items()}
    for do in (*steps.values(), *copies.values()):
        do()
    timed: dict[str, list[float]] = {name: [] for name in (*steps, *copies)}
    for _ in range(rounds):
        for name, do in {**steps, **copies}.items():
            timed[name].append(_seconds(do))
    found = {
        "n_params": n_params,
        "n_arrays": len(sizes),
        "steps": {name: timed[name] for name in steps},
        "copies": {name: timed[name] for name in copies},
        "compile": first,
    }
    print(json.dumps(found))


def arrays(sizes: list[tuple[int, ...]], seed: int) -> list[np.ndarray]:
    random = np.random.default_rng(seed)
    return [0.02 * random.standard_normal(shape, np.float32) for shape in sizes]


def downslope(name: str) -> Callable[[list[tuple[int, ...]]], Callable[[], None]]:
    def make(sizes: list[tuple[int, ...]]) -> Callable[[], None]:
        import jax

        from downslope.rules.registry import rule_by_name
        from downslope.training.compiling import jit_steps

        rule = rule_by_name(name, weight_decay=WEIGHT_DECAY)

        def step(params, state, grads, learning_rate):
            direction, state = rule.direction(grads, state, params)
            return jax.tree.map(lambda p, d: p - learning_rate * d, params, direction), state

        return _stepping(jit_steps(step, donate_argnums=(0, 1)), rule.init, sizes)

    return make


def optax(name: str) -> Callable[[list[tuple[int, ...]]], Callable[[], None]]:
    def make(sizes: list[tuple[int, ...]]) -> Callable[[], None]:
        import jax
        import optax as library

        def matrices(params):
            return jax.tree.map(lambda leaf: leaf.ndim >= 2, params)

        rule = getattr(library, name)(LEARNING_RATE, weight_decay=WEIGHT_DECAY, mask=matrices)

        def step(params, state, grads, learning_rate):
            updates, state = rule.update(grads, state, params)
            return library.apply_updates(params, updates), state

        return _stepping(jax.jit(step, donate_argnums=(0, 1)), rule.init, sizes)

    return make


def _stepping(step, init, sizes: list[tuple[int, ...]]) -> Callable[[], None]:
    import jax
    import jax.numpy as jnp

    params, grads = (list(map(jnp.array, arrays(sizes, seed))) for seed in (0, 1))
    carried = [params, jax.jit(init)(params)]

    def one() -> None:
        carried[:] = step(*carried, grads, np.float32(LEARNING_RATE))
        jax.block_until_ready(carried)

    return one


def torch_adamw(sizes: list[tuple[int, ...]]) -> Callable[[], None]:
    import torch

    params = [torch.from_numpy(array).requires_grad_() for array in arrays(sizes, 0)]
    for param, grad in zip(params, arrays(sizes, 1), strict=True):
        param.grad = torch.from_numpy(grad)
    groups = [
        {"params": [param for param in params if param.ndim >= 2], "weight_decay": WEIGHT_DECAY},
        {"params": [param for param in params if param.ndim < 2], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE, fused=True)

    def one() -> None:
        optimizer.step()

    return one


def copying(name: str, n: int) -> Callable[[], object]:
    source = np.random.default_rng(2).standard_normal(n, np.float32)
    if name == "NumPy":
        target = np.ones_like(source)
        return lambda: np.copyto(target, source)
    if name == "PyTorch":
        import torch

        there, here = torch.from_numpy(source), torch.ones(n)
        return lambda: here.copy_(there)
    import jax
    import jax.numpy as jnp

    array = jnp.array(source)
    return lambda: jax.block_until_ready(jnp.copy(array))


def _seconds(do: Callable[[], object]) -> float:
    began = time.perf_counter()
    do()
    return time.perf_counter() - began


MAKERS = {
    "Downslope AdamW": downslope("adamw"),
    "Downslope LAMB": downslope("lamb"),
    "Optax, jitted AdamW": optax("adamw"),
    "Optax, jitted LAMB": optax("lamb"),
    "PyTorch, fused AdamW": torch_adamw,
}

if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), sys.argv[3:])
