import pytest

import downslope.rules
from downslope.errors import OptionError
from downslope.rules import RULES, rule_by_name

ASKED_FOR = [
    "gradient-descent",
    "sgd",
    "momentum",
    "nesterov",
    "adagrad",
    "adadelta",
    "rmsprop",
    "adam",
    "amsgrad",
    "adamax",
    "nadam",
    "nadamw",
    "radam",
    "adamw",
    "lars",
    "lamb",
    "lion",
    "adafactor",
    "muon",
    "schedule-free-sgd",
    "schedule-free-adamw",
    "prodigy",
]


def test_has_every_rule_asked_for_in_that_order():
    assert list(RULES) == ASKED_FOR


@pytest.mark.parametrize("name", RULES)
def test_every_line_is_complete_and_short_enough_to_print(name):
    info = RULES[name]
    assert info.name == name
    assert info.factory is getattr(downslope.rules, name.replace("-", "_"))
    for text in (info.adapts, info.memory, info.paper):
        assert 0 < len(text) <= 50
    assert any(digit.isdigit() for digit in info.paper)


def test_unknown_rule_suggests_the_nearest():
    with pytest.raises(OptionError, match=r"unknown rule 'adamww'\. Did you mean 'adamw'"):
        rule_by_name("adamww")


def test_unknown_hyperparameter_suggests_the_nearest():
    with pytest.raises(
        OptionError, match=r"adamw has no hyperparameter 'weigth_decay'\. Did you mean 'weight_decay'"
    ):
        rule_by_name("adamw", weigth_decay=0.1)


def test_all_lists_exactly_what_is_exported():
    public = {
        name
        for name, value in vars(downslope.rules).items()
        if not name.startswith("_") and getattr(value, "__module__", "").startswith("downslope.rules")
    }
    assert set(downslope.rules.__all__) == public | {"RULES"}
