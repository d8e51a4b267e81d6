"""RESULTS.md, from all that is stored."""

import math
import statistics
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

from benchmarks.learning_rate import measures
from benchmarks.learning_rate.contenders import ABLATIONS, OURS, OWN, RIVALS, Contender
from benchmarks.learning_rate.oracle import RATES, RULES, SCHEDULES, SEEDS
from benchmarks.learning_rate.records import Record
from benchmarks.learning_rate.workloads import ALL, DROPOUT, HIDDEN, TEST_FRACTION
from downslope.training import choosing, guard, pacing, steering
from downslope.tuning import budget, race
from downslope.workflow import defaults

RESULTS = Path(__file__).parent / "RESULTS.md"
IN_TIME = 1.5  # times the oracle's
SLOWEST_MEAN, FEWEST_REACHED, LARGEST_REGRET = 1.25, 0.95, 0.01
CONSTANTS = {
    race: ("ARMS", "FACTOR", "BRANCH", "ROUNDS", "STANDARD_ERRORS", "CATCHING_UP", "FADING", "TOLD_APART"),
    choosing: ("HELD_OUT", "LENT"),
    budget: ("SHARE", "SECONDS"),
    pacing: ("PATIENCE", "LONGER"),
    steering: ("RISE", "FALL", "SHORTEST_MEMORY"),
    guard: ("SPREADS", "LOST", "ABOVE_START"),
    defaults: ("STEPS_AIMED_AT", "LONGEST"),
}
TRIED = (
    "How a race is judged here: by how much the logarithm of AdamW's loss in the sweep (cosine and linear, "
    "its mean over 3 seeds, read between the rates), at the rate that was chosen, lies above that of the "
    "best rate. Means over workloads count each at most 0.6; 4 races each.",
    "Where rows are few, 40 % of the training rows are lent to the race and held out too: mean 0.209 → "
    "0.172 over 25 workloads (kept).",
    "Of rates that tie, the one that is expected to end lowest (what was measured, and a prior about the "
    "rule's own), instead of the one nearest to the rule's own; and one row more, on which the arm is wrong, "
    "instead of a least gap (3/n of the loss of a network that knows nothing): 0.192 → 0.167 over 31 "
    "workloads; their weighted mean instead of the lowest: 0.154 (kept), rounded to the nearest arm: 0.165. "
    "The lowest with a prior of squares instead of heavy tails: 0.175, and that with leads that fade as 1/√a "
    "or 1/a: 0.170 and 0.184; with fading as read from the race's own rounds: 0.183 (dropped).",
    "All together, in whole runs of 21 workloads with 4 seeds: loss on the test rows 9 % lower in the "
    "geometric mean, 1.5 % in the median (kept); 8 % and 0 without the mean. With 0.001 as the rule's own "
    "rate: 3 % in the geometric mean (dropped).",
    "Twice the budget: 0.175 → 0.176 over 34 workloads (dropped).",
    "Means of the weights over the last quarter or half of the epochs, over the decay, or around the best "
    "epoch, instead of the weights that are kept (10 workloads, 8 seeds): −3 to +16 % (dropped), but "
    "−16 % for a linear model with inputs × 100, where the end of the decay is as good.",
    "Weights of a linear model that do not decay, unless asked for: ill-conditioned, linear 0.0064 → 0.0006 "
    "(kept, for everyone here); other linear models ± 1 %. No decay for any network, where AdamW has 0.01: "
    "5 % worse over 42 workloads, digits with inputs × 100 by half (dropped).",
    "How long an improvement is waited for at the full rate; whole runs of the 42 workloads with hidden "
    "layers, 3 seeds, loss on the test rows. Twice as long while the validation loss is below the training "
    "loss by more than chance: −0.9 %; california housing here −2 to −6 %, the made-up houses of the "
    "README 0.0013 → 0.0006, titanic, wine quality, MNIST's test digits and all of california housing the "
    "same (kept). By any amount: −0.5 %, breast cancer +15 %. A third of the usual epochs instead of a "
    "fifth: +0.8 %, california housing −3 % here but +2 % with all of its rows. Medians of two windows "
    "instead of their lowest: +2.9 % (all dropped).",
    "Weight decay, in whole runs with 3 seeds, loss on the test rows in the geometric mean. As strong as "
    "the rows are few (1 ÷ (0.002 × half of the usual steps, at least 500)): −24 % over the 42 workloads "
    "with hidden layers, but california housing +17 to +30 % here, and spirals or sines without noise "
    "far worse (dropped). Steered by whether smaller weights do better on the validation rows, doubled "
    "or halved: −23 % over 18 workloads, MNIST's test digits 94.2 → 95.8 %, spirals and sines about the "
    "same, california housing here +2 to +3 %; doubled or quartered: +1 % (kept). Raised only where the "
    "network may overfit: california housing as with the rule's own, most others the same, but breast "
    "cancer with weights × 3 0.07 → 0.26, where the rule's own leads to 0.33 (kept: a network that does "
    "not overfit is left alone). A memory of at least 500 steps instead of 4 epochs, 1.5 instead of 2, "
    "no steering while the rate falls: a little worse or the same. One validation row more, on which the "
    "network is wrong: wine better, spirals and moons worse (all dropped).",
    "The decay, in whole runs of all 50 workloads with 3 seeds, loss on the test rows and steps. Half of "
    "the whole instead of two fifths: −6.0 % for 6 % more steps; on other data, 2 to 6 seeds, a little "
    "better or the same (kept). Three fifths: −6.7 % for 16 %; all of california housing and MNIST's test "
    "digits worse than with half. As 1 − √x or (1 − x)¹·⁵ instead of a straight line: none better. Begun "
    "where the descent stands, instead of where the validation loss was lowest, unless that has risen "
    "since by more than two standard errors of its slope: −0.9 %, for no step more (kept); and as long as "
    "all that went before, instead of up to the lowest: −1.9 % for 9 %, but all of california housing and "
    "its districts worse (dropped). Whether the loss still falls, judged by the mean of the weights of the "
    "latest epochs too: 0 to −0.6 % for 4 % more steps (dropped).",
    "Which of the rates that tie is taken, by earlier measures of the same kind: the rule's own 0.48, the "
    "mean of the tied 0.44, the lowest 0.56, the smallest 0.72, the largest 0.93.",
)
BY_NAME = {one.name: one for one in ALL}


def page(records: Sequence[Record]) -> str:
    """Return the page; each record has a sweep, the oracle's runs and ours."""
    text = [
        "# No learning rate given, against an oracle that tunes it",
        "",
        "Written by `python -m benchmarks.learning_rate`; not to be edited by hand.",
        "",
        *_what_it_must_show(records),
        *_summary("All in one table", (*OWN, *RIVALS), records),
        *_summary(
            "Ablations",
            (OWN[1], *ABLATIONS),
            records,
            "Only runs of the same workloads are compared, all with the rule's own weight decay.",
        ),
        *_oracles(records),
        *_by_workload(
            "Time to the target ÷ the oracle's",
            records,
            lambda runs, oracle: _times(measures.ratio(runs, oracle, "seconds")),
        ),
        *_by_workload(
            "Steps to the target ÷ the oracle's",
            records,
            lambda runs, oracle: _times(measures.ratio(runs, oracle, "steps")),
        ),
        *_by_workload("Regret", records, lambda runs, oracle: f"{measures.regret(runs, oracle):+.1%}"),
        *_shares(records),
        "## What was tried",
        "",
        *[f"- {line}" for line in TRIED],
        "",
        *_method(records),
    ]
    return "\n".join(text)


def _what_it_must_show(records: Sequence[Record]) -> list[str]:
    ours = _Line(OWN[0], records)
    lead, best = min((_lead(one, records), one.name) for one in RIVALS if _common(one, records))
    worst = max(zip(ours.regrets, ours.names, strict=True))
    late = [name for name, r in zip(ours.names, ours.ratios("seconds"), strict=True) if r > IN_TIME]
    mean = measures.geometric_mean(ours.ratios("seconds"))
    unreached = [name for name, r in zip(ours.names, ours.ratios("seconds"), strict=True) if math.isinf(r)]
    bars = [
        (
            f"geometric mean of the time ratio ≤ {SLOWEST_MEAN} (over those reached)",
            f"{mean:.2f}",
            mean <= SLOWEST_MEAN,
            f"× {mean / SLOWEST_MEAN:.2f}",
        ),
        (
            f"≥ {FEWEST_REACHED:.0%} of the workloads reached within {IN_TIME} × the oracle's time",
            f"{ours.share(IN_TIME):.0%} (at all: {ours.share(math.inf):.0%})",
            ours.share(IN_TIME) >= FEWEST_REACHED,
            f"late: {'; '.join(name for name in late if name not in unreached) or 'none'}. "
            f"Never: {'; '.join(unreached) or 'none'}",
        ),
        ("no unrecovered divergence", f"{ours.divergences}", ours.divergences == 0, ""),
        (
            f"median regret ≤ {LARGEST_REGRET:.0%}",
            f"{ours.median_regret:+.1%}",
            ours.median_regret <= LARGEST_REGRET,
            f"by {ours.median_regret - LARGEST_REGRET:.1%}; worst {worst[0]:+.1%}, {worst[1]}",
        ),
        (
            "a better score than every untuned rival, on the workloads that both have run on",
            f"{lead:+.2f} against the best of them, {best}",
            lead > 0,
            f"by {-lead:.2f}",
        ),
    ]
    rows = [
        f"| {claim} | {value} | {'holds' if holds else f'**MISS** {by}'} |"
        for claim, value, holds, by in bars
    ]
    return [
        f"## {OURS}: what it must show",
        "",
        f"Over {len(records)} workloads, of {len(ALL)} that there are. {_out_of_sight(records)}",
        "",
        "| bar | measured | |",
        "|---|---|---|",
        *rows,
        "",
    ]


def _out_of_sight(records: Sequence[Record]) -> str:
    """Return what holds of the workloads that no constant was chosen on."""
    some = [record for record in records if not BY_NAME[record["workload"]].tuned_on]
    if not some:
        return "The constants of the race were chosen with all of them in sight."
    line = _Line(OWN[0], some)
    return (
        f"The constants of the race were chosen with all of them in sight but {len(some)}; of these alone: "
        f"time ratio {measures.geometric_mean(line.ratios('seconds')):.2f}, {line.share(IN_TIME):.0%} "
        f"reached in time, median regret {line.median_regret:+.1%}. How long to wait for an improvement, "
        "where the decay of the rate begins and how long it is, that the weights of linear models do not "
        "decay, and how others do, was decided with all in sight."
    )


def _common(rival: Contender, records: Sequence[Record]) -> list[Record]:
    return [record for record in records if record["runs"].get(rival.name)]


def _lead(rival: Contender, records: Sequence[Record]) -> float:
    """Return by how much our score is above a rival's, on the workloads of both."""
    common = _common(rival, records)
    return _Line(OWN[0], common).score("seconds") - _Line(rival, common).score("seconds")


class _Line:
    """A contender over the workloads that it has run on, each against its oracle."""

    def __init__(self, contender: Contender, records: Sequence[Record]):
        own = [record for record in records if record["runs"].get(contender.name)]
        self.names = [record["workload"] for record in own]
        self._pairs = [(record["runs"][contender.name], record["runs"]["oracle"]) for record in own]
        self.regrets = [measures.regret(*pair) for pair in self._pairs]
        self.paired = [measures.paired_ratio(*pair, "steps") for pair in self._pairs]
        self.divergences = sum(run["diverged"] for runs, _ in self._pairs for run in runs)
        self.roll_backs = sum(run["roll_backs"] for runs, _ in self._pairs for run in runs)

    def ratios(self, what: str) -> list[float]:
        return [measures.ratio(*pair, what) for pair in self._pairs]

    def score(self, what: str) -> float:
        return measures.score(self.ratios(what))

    def share(self, limit: float) -> float:
        """Share of the workloads whose target is reached within `limit` times the oracle's time."""
        ratios = self.ratios("seconds")
        return statistics.mean(math.isfinite(r) and r <= limit for r in ratios)

    @property
    def median_regret(self) -> float:
        return statistics.median(self.regrets)


def _summary(
    title: str, contenders: Iterable[Contender], records: Sequence[Record], note: str = ""
) -> list[str]:
    text = [
        f"## {title}",
        "",
        *([note, ""] if note else []),
        "| | workloads | score (time) | score (steps) | time ratio | step ratio | paired step ratio "
        "| reached | in time | median regret | worst regret | diverged | rolled back |",
        "|---|" + "---|" * 12,
    ]
    compared = records
    if note:
        last = list(contenders)[-1].name
        compared = [record for record in records if record["runs"].get(last)]
    for contender in contenders:
        line = _Line(contender, compared)
        if not line.names:
            continue
        cells = [
            contender.name,
            f"{len(line.names)}",
            f"{line.score('seconds'):.2f}",
            f"{line.score('steps'):.2f}",
            _times(measures.geometric_mean(line.ratios("seconds"))),
            _times(measures.geometric_mean(line.ratios("steps"))),
            _times(measures.geometric_mean(line.paired)),
            f"{line.share(math.inf):.0%}",
            f"{line.share(IN_TIME):.0%}",
            f"{line.median_regret:+.1%}",
            f"{max(line.regrets):+.1%}",
            f"{line.divergences}",
            f"{line.roll_backs}",
        ]
        text.append("| " + " | ".join(cells) + " |")
    if note and len(text) == 6:
        text.append("| *not measured yet* |" + " |" * 12)
    return [*text, ""]


def _oracles(records: Sequence[Record]) -> list[str]:
    text = [
        "## The oracle, and what we chose",
        "",
        "The oracle's own line is measured like everyone's: its seeds reach the target (or not), its "
        "regret is 0 "
        "by definition. Ours: the median of the seeds.",
        "",
        "| workload | oracle | target | to it | steps | of its seeds | our rate | our steps to it "
        "| our epochs | our seeds |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for record in records:
        oracle, ours = record["runs"]["oracle"], record["runs"][OURS]
        rule, rate, schedule = record["setting"]
        target = measures.target_of(oracle)
        hits = sum(math.isfinite(measures.to_target([run], target, "steps")) for run in oracle)
        edge = " (edge of the sweep)" if rate in (RATES[0], RATES[-1]) else ""
        note = BY_NAME[record["workload"]].note if record["workload"] in BY_NAME else ""
        cells = [
            record["workload"] + (f" ({note})" if note else ""),
            f"{rule} {rate:g} {schedule}{edge}",
            f"{target:.4g}",
            f"{measures.to_target(oracle, target, 'seconds'):.1f} s",
            f"{measures.to_target(oracle, target, 'steps'):,.0f}",
            f"{hits} of {len(oracle)}",
            f"{statistics.median(run['learning_rate'] for run in ours):.2g}",
            _steps(measures.to_target(ours, target, "steps")),
            f"{statistics.median(run['epochs'] for run in ours):g} of {oracle[0]['epochs']}",
            f"{len(ours)}",
        ]
        text.append("| " + " | ".join(cells) + " |")
    return [*text, ""]


def _by_workload(title: str, records: Sequence[Record], cell: Callable[[Any, Any], str]) -> list[str]:
    names = [one.name for one in (*OWN, *RIVALS)]
    text = [f"## {title}", "", "| workload | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for record in records:
        runs = [record["runs"].get(name) for name in names]
        cells = [cell(own, record["runs"]["oracle"]) if own else "" for own in runs]
        text.append(f"| {record['workload']} | " + " | ".join(cells) + " |")
    return [*text, ""]


def _shares(records: Sequence[Record]) -> list[str]:
    text = [
        "## Where our regret comes from",
        "",
        "*Rule*: AdamW's best setting of the sweep above the best of all rules. *Rate*: AdamW at our rate, "
        "read between its neighbours in the sweep, with the best schedule, above AdamW's best. Both are "
        "minima over settings, of medians of 3 seeds: what is lucky among them is in here too. *Rest*: what "
        "is left of the regret: schedule, length, which weights are kept, luck.",
        "",
        "| workload | our rate | rule | rate | rest | regret |",
        "|---|---|---|---|---|---|",
    ]
    for record in records:
        ours, oracle = record["runs"][OURS], record["runs"]["oracle"]
        chosen = statistics.median(run["learning_rate"] for run in ours)
        rule, rate = measures.shares(record, chosen)
        total = measures.regret(ours, oracle)
        rest = (1 + total) / ((1 + rule) * (1 + rate)) - 1
        text.append(
            f"| {record['workload']} | {chosen:.2g} | {rule:+.1%} | {rate:+.1%} | {rest:+.1%} | "
            f"{total:+.1%} |"
        )
    return [*text, ""]


def _method(records: Sequence[Record]) -> list[str]:
    constants = [
        f"`{module.__name__.removeprefix('downslope.')}`: "
        + ", ".join(f"{name} = {getattr(module, name):g}" for name in names)
        for module, names in CONSTANTS.items()
    ]
    unseen = [one.name for one in ALL if not one.tuned_on]
    seeds = sorted({run["seed"] for record in records for run in record["runs"][OURS]})
    versions = sorted({_versions(record) for record in records})
    missing = [one.name for one in ALL if one.name not in {record["workload"] for record in records}]
    return [
        "## How it is measured",
        "",
        f"- **Workloads.** A network of our own for all (hidden layers {HIDDEN}, silu, dropout {DROPOUT:g}; "
        "linear ones from zero weights), its rows standardised and handed over as arrays, so that perturbed "
        "inputs reach it as they are. When these were measured, layers before a batch normalisation had a "
        f"bias, everyone's; it did nothing and is gone since. {TEST_FRACTION:.0%} of the rows, the same for "
        "every seed, are the test rows; 10 % of the others are for validation. Batches of 32 and the usual "
        "number of epochs of `downslope train`, for everyone who must be told one. "
        "Losses are in units of all rows.",
        f"- **Oracle.** {{{', '.join(RULES)}}} × {len(RATES)} rates from {RATES[0]:g} to {RATES[-1]:g} × "
        f"{{{', '.join(SCHEDULES)}}} × seeds {SEEDS[0]}–{SEEDS[-1]}: "
        f"{len(RULES) * len(RATES) * len(SCHEDULES)} "
        "settings, with the weight decay that a rule has by itself (0.01; Lion 0.1), as the rivals "
        "have; with our schedule it is steered, but for the line that says otherwise. Weights of linear "
        "models do not decay, anyone's. The setting of the lowest median test loss is run with seeds "
        "0–9 by `downslope.train`, and the median of these is the target. It has seen the test rows, and "
        "so is a bound that nobody can be "
        "asked "
        "to reach on rows that are few: the lowest of 156 medians is lucky too.",
        "- **Target.** Reached when the test loss, seen after every epoch and for the weights kept at "
        "the end, is "
        "≤ 1.01 × the target; the time is the median of the seeds (never counts as ∞), the oracle's own "
        "by the "
        "same rule. The clock runs from the call: compiling, range test, race, roll-backs; what the "
        "watching takes "
        "is taken off. Everyone runs with one seed before anyone runs with the next. A process's very "
        "first run is "
        "not counted.",
        "- **Score.** Mean over the workloads of max(0, (4 − r)/3), at most 1 each; r the time ratio, ∞ "
        "where not "
        "reached. Steps are shown beside, for a machine's seconds are noisy; those of the race and those "
        "undone "
        "count, an L-BFGS step is one step whatever its line search costs.",
        "- **Regret.** Median over the seeds of the test loss of the weights kept ÷ the oracle's with the "
        "same seed (the same initial weights, rows and order) − 1. *Paired*: the target is 1.01 × what the "
        "oracle kept with that seed. Ratios over workloads are geometric means over those reached.",
        "- **Machine.** Two processor cores, on which nothing else ran while runs were timed, but for a few "
        "short analyses at the lowest priority.",
        f"- **Seeds** of ours: {', '.join(map(str, seeds))}; of the others the first of these, at least "
        "three where time allowed. DoG is Optax's, without averaging.",
        f"- **Not measured yet:** {'; '.join(missing) or 'none'}.",
        f"- **Constants** that were chosen by experiment: {'; '.join(constants)}. In sight when they were: "
        "sweeps and whole runs of all workloads, iris, titanic, wine quality, MNIST's test digits, but not "
        f"these: {'; '.join(unseen)}.",
        *[f"- **Versions:** {line}" for line in versions],
        "",
    ]


def _versions(record: Record) -> str:
    return ", ".join(f"{name} {version}" for name, version in record["versions"].items())


def _times(ratio: float) -> str:
    return f"{ratio:.2f}" if math.isfinite(ratio) else "–"


def _steps(steps: float) -> str:
    return f"{steps:,.0f}" if math.isfinite(steps) else "never"
