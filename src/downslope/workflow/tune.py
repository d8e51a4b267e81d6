"""The choice of the learning rate, as one part of a training run."""

import time
from dataclasses import replace

from downslope import pytrees
from downslope.training.plan import Plan
from downslope.training.state import TrainState
from downslope.training.trials import Chooser, Chosen, Trials
from downslope.tuning.budget import steps_to_choose
from downslope.tuning.race import Race, warmup_of
from downslope.workflow.job import Job

SHARE_OF_TIME = 0.2  # of a time limit, after which the race begins no further round


def choosing(job: Job, state: TrainState) -> tuple[Plan, Chooser | None]:
    """Return the plan with the warm-up that the race has, and the race; None where the rate is given."""
    plan = job.plan
    if not job.raced or plan.pacing is None:
        return plan, None
    budget = steps_to_choose(job.nominal_steps, pytrees.count(state.params), plan.batch_size)

    def choose(trials: Trials) -> Chosen | None:
        deadline = time.monotonic() + SHARE_OF_TIME * (plan.max_seconds or float("inf"))
        chosen = Race(
            trials,
            job.rule.learning_rate,
            budget,
            anneal=job.rule.schedule != "constant",
            horizon=job.nominal_steps,
            deadline=deadline,
        ).run()
        # A named schedule falls from the first step on: a trunk at a constant rate is no part of it.
        return replace(chosen, trial=None) if chosen and job.config["schedule"] != "auto" else chosen

    return replace(plan, pacing=replace(plan.pacing, warmup=warmup_of(budget, job.nominal_steps))), choose
