"""A small problem to descend: noisy, with a state of its own, quick to compile."""

import dataclasses
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from downslope.gradient.backprop import Batch, training_objective
from downslope.losses import LOSSES
from downslope.models.functional import Model
from downslope.rules import adam
from downslope.stepsize.schedule import schedule_by_name
from downslope.training.evaluate import make_evaluation
from downslope.training.plan import Problem
from downslope.training.state import TrainState, initial_state
from downslope.training.step import make_step

COLUMNS = 3


def examples(n: int, seed: int = 0) -> Batch:
    """A straight line through noise."""
    generator = np.random.default_rng(seed)
    inputs = generator.normal(0, 1, (n, COLUMNS)).astype(np.float32)
    targets = (inputs @ np.array([1.0, -2.0, 0.5]) + 0.3 + generator.normal(0, 0.1, n)).astype(np.float32)
    return Batch(inputs, targets, np.ones(n, np.float32))


def linear_model(noise: float) -> Model:
    """Inputs with noise in training → one output; it carries the mean of the inputs it has seen."""

    def init(key: Any, example: Any) -> tuple[Any, Any]:
        params = {"w": 0.1 * jax.random.normal(key, (COLUMNS, 1)), "b": jnp.zeros(1)}
        return params, {"seen": jnp.zeros(COLUMNS)}

    def apply(params: Any, state: Any, inputs: Any, *, key: Any, train: bool, mask: Any = None):
        if train:
            share = (mask / jnp.maximum(jnp.sum(mask), 1e-9))[:, None]
            state = {"seen": 0.9 * state["seen"] + 0.1 * jnp.sum(share * inputs, axis=0)}
            inputs = inputs + noise * jax.random.normal(key, inputs.shape)
        return inputs @ params["w"] + params["b"], state

    return Model(init, apply)


class Setting(NamedTuple):
    """Everything that a test hands to `descend`, and the count of traces of the step."""

    problem: Problem
    start: Callable[[], TrainState]
    traces: list[int]


@pytest.fixture
def setting() -> Callable[..., Setting]:
    """`setting(n=…, validation=…, rule=…, schedule=…, noise=…, model=…)` builds a problem."""

    def build(
        n: int = 50,
        *,
        validation: Batch | int | None = 16,
        rule: Any = None,
        schedule: str = "cosine",
        noise: float = 0.1,
        model: Model | None = None,
        train: Batch | None = None,
        loss: str = "squared-error",
    ) -> Setting:
        rule = adam() if rule is None else rule
        model = linear_model(noise) if model is None else model
        cost = LOSSES[loss]()
        objective = training_objective(model, cost)
        made_schedule = schedule_by_name(schedule, warmup=0.0)
        step = make_step(objective, rule, made_schedule)
        traces: list[int] = []

        def counted(*arguments: Any) -> Any:
            traces.append(1)
            return step(*arguments)

        parts = {
            "objective": objective,
            "step": counted,
            "rule": rule,
            "schedule": made_schedule,
            "evaluation": jax.jit(make_evaluation(model, cost)),
            "score": lambda predictions: float(np.mean(predictions)),
            "train": examples(n) if train is None else train,
            "validation": examples(validation, seed=1) if isinstance(validation, int) else validation,
        }
        known = {field.name for field in dataclasses.fields(Problem)}
        problem = Problem(**{name: part for name, part in parts.items() if name in known})

        def start() -> TrainState:
            return initial_state(*model.init(jax.random.key(0), None), rule)

        return Setting(problem, start, traces)

    return build
