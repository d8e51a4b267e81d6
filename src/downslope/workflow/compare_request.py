"""What a comparison was asked for: its arms, its budget and the options that all arms share, checked."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from downslope.errors import OptionError, did_you_mean
from downslope.rules.registry import RULES
from downslope.stepsize.schedule import SCHEDULES
from downslope.workflow.options import MEASURED_SCHEDULES, TrainOptions, options_from

DEFAULT_RULES = ("gd", "sgd", "momentum", "adam", "adamw", "lamb")
ONE_RULE = "sgd"  # what batch sizes and learning rates are compared with
ALIASES = {"gd": "gradient-descent"}
SEARCHES = ("random-search", "grid-search")
OWN_BUSINESS = {
    "optimizer": "give rules",
    "learning_rate": "give learning_rates",
    "epochs": "give budget",
    "max_seconds": "give budget, such as '30s'",
    "early_stopping": "every run has its whole budget",
    "checkpoint_every": "nothing is resumed",
    "devices": "one device runs all arms",
    "shard": "one device runs all arms",
}


@dataclass(frozen=True)
class Entry:
    """One arm as it was asked for: None stands for what is to be chosen."""

    rule: str
    batch_size: int | str | None
    learning_rate: float | None = None
    name: str | None = None

    @property
    def trained_by(self) -> str:
        """The rule that trains it; a search has none, and takes over SGD's batch size."""
        return ONE_RULE if self.rule in SEARCHES else self.rule


@dataclass(frozen=True)
class Budget:
    """How long each run may be: passes over the rows, or seconds of training; neither: by the rows."""

    epochs: int | None = None
    seconds: float | None = None

    @property
    def described(self) -> str:
        """The budget in words."""
        if self.seconds is not None:
            return f"{self.seconds:g} seconds of training"
        return "by the number of rows" if self.epochs is None else f"{self.epochs} epochs"


def parse_budget(budget: int | str | None) -> Budget:
    """Read ``20`` or ``"20"`` as epochs, ``"30s"``, ``"2min"`` or ``"500ms"`` as time.

    >>> parse_budget("1.5min").seconds, parse_budget("20").epochs
    (90.0, 20)
    """
    if budget is None:
        return Budget()
    text = str(budget).strip().lower().replace(" ", "")
    for unit, seconds in (("ms", 1e-3), ("min", 60.0), ("s", 1.0), ("m", 60.0), ("h", 3600.0)):
        number = text.removesuffix(unit)
        if number != text and _is_number(number) and 0 < float(number) * seconds < 1e7:
            return Budget(seconds=float(number) * seconds)
    if text.isdecimal() and 0 < int(text) < 10**7 and not isinstance(budget, bool):
        return Budget(epochs=int(text))
    raise OptionError(
        f"--budget must be a number of epochs, such as 20, or a time, such as 30s or 2min; got '{budget}'"
    )


def shared_options(given: dict[str, Any]) -> TrainOptions:
    """Return the options that all arms share; OptionError for one that a comparison does not take."""
    options = options_from(given, "compare", OWN_BUSINESS)
    if callable(options.schedule):
        raise OptionError(f"--schedule takes a name here: {', '.join(SCHEDULES)}")
    if options.schedule in ("auto", *MEASURED_SCHEDULES):
        raise OptionError(
            f"--schedule {options.schedule} follows what it measures; all arms of a comparison share one "
            f"shape: {', '.join(SCHEDULES)}"
        )
    return options


def wanted_arms(rules: Any, batch_sizes: Any, learning_rates: Any, options: TrainOptions) -> list[Entry]:
    """Return the arms that were asked for, checked."""
    alone = batch_sizes is not None or learning_rates is not None
    if rules is None:
        rules = (ONE_RULE,) if alone else DEFAULT_RULES
    names = [known_rule(name) for name in listed(rules)]
    names = list(dict.fromkeys(names))
    if not names:
        raise OptionError("--rules names none; for example --rules gd,adam")
    if not alone:
        return [Entry(name, options.batch_size) for name in names]
    flag = "--batch-sizes" if batch_sizes is not None else "--learning-rates"
    if len(names) > 1 or names[0] in SEARCHES:
        raise OptionError(f"{flag} compares with one update rule; give one, such as --rules {ONE_RULE}")
    if batch_sizes is not None:
        if options.batch_size is not None:
            raise OptionError("--batch-size and --batch-sizes exclude each other; give one of them")
        sizes = list(dict.fromkeys(_batch_size(size) for size in listed(batch_sizes)))
        if not sizes:
            raise OptionError("--batch-sizes names none; for example 1,32,full")
        return [Entry(names[0], size, name=_size_name(size)) for size in sizes]
    if learning_rates is None or listed(learning_rates) == ["auto"]:
        return [Entry(names[0], options.batch_size, name="auto")]
    numbers = list(dict.fromkeys(_rate(rate) for rate in listed(learning_rates)))
    if not numbers:
        raise OptionError("--learning-rates names none; for example 0.001,0.1,10, or auto")
    return [Entry(names[0], options.batch_size, rate, f"rate {rate:g}") for rate in numbers]


def kind_of(wanted: list[Entry]) -> str:
    """Return what is compared: ``"rules"``, ``"batch-sizes"``, ``"learning-rates"`` or ``"auto-rates"``."""
    first = wanted[0]
    if first.name is None:
        return "rules"
    if first.name == "auto":
        return "auto-rates"
    return "batch-sizes" if first.learning_rate is None else "learning-rates"


def listed(value: Any) -> list[Any]:
    """Return several values, however they were given.

    >>> listed("1, 32,full"), listed(0.1), listed(np.array([1, 2]))
    (['1', '32', 'full'], [0.1], [1, 2])
    """
    if isinstance(value, str):
        return [word.strip() for word in value.split(",") if word.strip()]
    if isinstance(value, np.ndarray):
        return value.ravel().tolist()
    return list(value) if isinstance(value, list | tuple | range | set) else [value]


def known_rule(name: Any) -> str:
    """Return the full name of a rule or a search; OptionError with the nearest names for another.

    >>> known_rule("gd")
    'gradient-descent'
    """
    if not isinstance(name, str):
        raise OptionError(f"--rules takes names, such as gd,adam; got a {type(name).__name__}")
    plain = name.strip().lower().replace("_", "-")
    plain = ALIASES.get(plain, plain)
    if plain not in RULES and plain not in SEARCHES:
        near = did_you_mean(plain, [*RULES, *ALIASES, *SEARCHES])
        raise OptionError(
            f"--rules: unknown '{name}'.{near} `downslope rules` lists them; there are also gd, "
            f"{' and '.join(SEARCHES)}"
        )
    return plain


def _batch_size(size: Any) -> int | str:
    text = str(size).strip()
    if text == "full":
        return text
    if not text.isdecimal() or int(text) < 1:
        raise OptionError(f"--batch-sizes must be whole numbers or 'full', such as 1,32,full; got '{text}'")
    return int(text)


def _size_name(size: int | str) -> str:
    if size == "full":
        return "full batch"
    return "batch of 1 (stochastic)" if size == 1 else f"batch of {size:,}"


def _rate(rate: Any) -> float:
    if not _is_number(rate) or not 0 < float(rate) < 1e38:
        raise OptionError(
            f"--learning-rates must be numbers above 0, such as 0.001,0.1,10, or auto; got '{rate}'"
        )
    return float(rate)


def _is_number(text: Any) -> bool:
    try:
        return bool(np.isfinite(float(text)))
    except (TypeError, ValueError):
        return False


def refuse_others(flag: str, others: dict[str, Any]) -> None:
    given = ["--" + name.replace("_", "-") for name, value in others.items() if value is not None]
    if given:
        raise OptionError(f"{flag} trains no network on data; leave out {', '.join(given)}")
