"""The way back into a run that was interrupted: its options from config.json, and what no folder can hold."""

from collections.abc import Mapping
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from downslope.data.bundled import BUNDLED
from downslope.errors import OptionError, RunFolderError
from downslope.rules.registry import rule_by_name
from downslope.rules.rule import Rule
from downslope.runs import folder as runs
from downslope.workflow.job import Job, job_of
from downslope.workflow.options import OWN_ARRAYS, TrainOptions, is_own

NOT_IN_A_FOLDER = ("model", "loss", "optimizer", "schedule", "sample_weight", "test")
# what config.json knows again, and what messages call it
FINGERPRINTS = {
    "data_fingerprint": "the data",
    "test_fingerprint": "what it was tested on",
    "sample_weight_fingerprint": "sample_weight",
}


def resumed_job(folder: Path, data: Any, y: Any, given: dict[str, Any]) -> Job:
    """Return the job that goes on with the run in `folder`, with the options that it was begun with.

    `given` holds what a folder cannot: the user's own network, loss, rule, schedule or arrays.
    """
    runs.refuse_comparison(folder)
    config = runs.read_json(folder / "config.json")
    others = [name for name in given if name not in NOT_IN_A_FOLDER]
    if others:
        raise OptionError(f"resume goes on with the run's own options; leave out {', '.join(others)}")
    try:
        saved = {field.name: config[field.name] for field in fields(TrainOptions)}
        path, fingerprints = config["data_path"], {name: config[name] for name in FINGERPRINTS}
        own = own_options(config)
    except KeyError as error:
        raise RunFolderError(f"{folder / 'config.json'}: damaged ({error} is missing); train again") from None
    except (TypeError, ValueError):
        raise RunFolderError(f"{folder / 'config.json'}: damaged ('optimizer'); train again") from None
    data = path if data is None else data
    if data is None:
        raise OptionError(f"{folder}: was trained on data in memory; pass the same data again to resume")
    _check_there(folder, data, "DATA")
    _check_there(folder, given.get("test", saved["test"]), "--test FILE")
    for name in own:
        if name not in given:
            raise OptionError(f"{folder}: {name} was your own; pass the same {name} again to resume")
    for name in ("model", "loss", "schedule", "sample_weight"):
        if name in given and name not in own:
            raise OptionError(f"{folder}: {name} was {saved[name]}, none of your own; leave it out")
    if "optimizer" not in own:
        saved["optimizer"] = _rule(config)
    try:
        options = TrainOptions(**{**saved, **given})
    except OptionError as error:
        if given:
            raise
        raise RunFolderError(f"{folder / 'config.json'}: damaged ({error}); train again") from None
    job = job_of(data, y, options, folder, resume=True)
    for name, what in {**FINGERPRINTS, "data_fingerprint": job.prepared.name}.items():
        if job.config[name] != fingerprints[name]:
            raise RunFolderError(f"{folder}: {what} has changed since the run began; train again")
    name = str(config.get("data", job.prepared.name))  # as it was first typed
    return replace(job, prepared=replace(job.prepared, name=name), config={**job.config, "data": name})


def own_options(config: Mapping[str, Any]) -> list[str]:
    """Return the options that were the user's own objects, which are needed again to resume."""
    own = [name for name in ("model", "loss", "schedule", *OWN_ARRAYS) if is_own(name, config[name])]
    try:
        _rule(config)
    except OptionError:
        own.append("optimizer")
    return own


def _rule(config: Mapping[str, Any]) -> Rule:
    """Return the rule that config.json names; OptionError if it is none of Downslope's."""
    return rule_by_name(str(config["optimizer"]["name"]), **dict(config["optimizer"]["hyperparameters"]))


def _check_there(folder: Path, file: Any, again: str) -> None:
    if isinstance(file, str) and file not in BUNDLED and not Path(file).is_file():
        raise RunFolderError(
            f"{folder}: its data is not at {file}; say where: downslope train --resume {folder} {again}"
        )
