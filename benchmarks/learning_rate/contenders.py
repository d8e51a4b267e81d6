"""Who runs against the oracle: ourselves, the rivals that need no tuning, ourselves with a part changed."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import optax

import downslope as ds
from benchmarks.learning_rate.oracle import job_of
from benchmarks.learning_rate.workloads import Workload
from downslope.rules.registry import rule_by_name
from downslope.workflow import defaults
from downslope.workflow.job import Job

UNGUARDED = {"guard": False, "early_stopping": False}


@dataclass(frozen=True)
class Contender:
    """What is run.

    Attributes:
        name: of the line in the table.
        options: of `downslope.train`; or a function (workload, seed) → options, whose time counts.
        race: attributes of `tuning.race.Race` that are changed.
        constants: of `tuning.race`, or else of `training.choosing`, that are changed.
        linear_only: for problems without randomness: all rows at every step, no dropout.
        own_decay: the weights decay as the rule has it by itself, and are not steered.
    """

    name: str
    options: dict[str, Any] | Callable[[Workload, int], dict[str, Any]] = field(default_factory=dict)
    race: dict[str, Any] = field(default_factory=dict)
    constants: dict[str, Any] = field(default_factory=dict)
    linear_only: bool = False
    own_decay: bool = False

    def enters(self, workload: Workload) -> bool:
        return not (self.linear_only and workload.hidden)

    def options_for(self, workload: Workload, seed: int) -> dict[str, Any]:
        """Return the options of `downslope.train`, the workload's among them."""
        own = self.options(workload, seed) if callable(self.options) else self.options
        options = {**workload.options, **own}
        optimizer = options.get("optimizer", "adamw")
        if not isinstance(optimizer, str):
            options.pop("weight_decay", None)  # a rule that is made already has its own
        elif self.own_decay:
            decay = rule_by_name(optimizer).hyperparameters.get("weight_decay", 0.0)
            options.setdefault("weight_decay", decay)
        return options


def usual_epochs(job: Job) -> int:
    """Return the epochs of `downslope train` for a schedule that must know its length: all others' too."""
    return defaults.epochs(-(-len(job.prepared.rows["train"].weights) // job.plan.batch_size))


def by_range_test(workload: Workload, seed: int) -> dict[str, Any]:
    """Return what the first suggestion of a range test makes of AdamW."""
    assert workload.rows is not None
    x, y = workload.rows[0]
    found = ds.find_learning_rate(workload.network, x, y, **workload.options, seed=seed)
    return {"learning_rate": found.suggestion, "schedule": "cosine", **UNGUARDED}


def with_length(workload: Workload, seed: int) -> dict[str, Any]:
    """Return the length that everyone else is given."""
    return {"epochs": usual_epochs(job_of(workload))}


OURS = "Downslope, nothing given"
FIXED = "AdamW 0.002, our schedule and length"
OWN = (
    Contender(OURS),
    Contender("Downslope, the rule's own weight decay", own_decay=True),
    Contender("Downslope, the rule's own weight decay, epochs given", with_length, own_decay=True),
)
RIVALS = (
    Contender(FIXED, {"learning_rate": 0.002, "schedule": "auto"}),
    Contender(
        "AdamW 0.001, constant",
        {"learning_rate": 0.001, "schedule": "constant", **UNGUARDED},
        own_decay=True,
    ),
    Contender(
        "NAdamW 0.00175, cosine",
        {"optimizer": "nadamw", "learning_rate": 0.00175, "schedule": "cosine", **UNGUARDED},
        own_decay=True,
    ),
    Contender(
        "Schedule-Free AdamW 0.0025",
        {"optimizer": "schedule-free-adamw", "learning_rate": 0.0025, **UNGUARDED},
    ),
    Contender("Prodigy", {"optimizer": "prodigy", "learning_rate": 1.0, **UNGUARDED}),
    Contender("DoG", lambda workload, seed: {"optimizer": optax.contrib.dog(), **UNGUARDED}),
    Contender("range test, AdamW cosine", by_range_test, own_decay=True),
    Contender(
        "L-BFGS, line search",
        lambda workload, seed: {
            "optimizer": ds.lbfgs(),
            "batch_size": "full",
            "schedule": "line-search",
            **UNGUARDED,
        },
        linear_only=True,
    ),
)
ABLATIONS = (  # each a change of ours with the rule's own weight decay
    Contender("scored without annealing", race={"anneal": False}, own_decay=True),
    Contender("ties to the larger rate", race={"prefer": "largest"}, own_decay=True),
    Contender("ties to the smaller rate", race={"prefer": "smallest"}, own_decay=True),
    Contender("ties to the arm nearest to the rule's own rate", race={"prefer": "centre"}, own_decay=True),
    Contender("held out: the validation rows alone", constants={"LENT": 0.0}, own_decay=True),
    Contender("3 arms, a factor of 10 apart", constants={"ARMS": 3, "FACTOR": 10.0}, own_decay=True),
    Contender("5 arms", constants={"ARMS": 5}, own_decay=True),
    Contender("13 arms, a factor of √3 apart", constants={"ARMS": 13, "FACTOR": 3.0**0.5}, own_decay=True),
    Contender("without the guard", {"guard": False}, own_decay=True),
)
EVERYONE = (*OWN, *RIVALS, *ABLATIONS)
