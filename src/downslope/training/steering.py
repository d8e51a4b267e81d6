"""Weight decay that nobody has to set: after every epoch, the validation rows say whether it is too weak.

    do weights 1 % smaller have a lower validation loss?       yes: λ ← 2·λ       no: λ ← λ / 4

Weights still too small for what there is to learn are pulled to 0 no more than the rule does by itself. But
a network that begins to learn its rows by heart grows too sure of itself, and smaller weights do better at
once, some time before the validation loss rises. Where the validation loss is below the training loss by
more than chance there is none of that yet: smaller weights would only bounce less from step to step.

Decoupled decay λ takes the share ηλ from a weight at each step, so that a weight is an average of what it has
learnt in about 1 / ηλ steps. This memory should hold some epochs, which bounds λ from above (Wang & Aitchison
2025, "How to set AdamW's weight decay as you scale model and dataset size", https://arxiv.org/abs/2405.13698).

Luketina et al. 2016, "Scalable Gradient-Based Tuning of Continuous Regularization Hyperparameters",
https://arxiv.org/abs/1511.06727, steer by the gradient of the validation loss; here by its sign along the
weights, which asks for one more evaluation per epoch and for no step size.
"""

from typing import Any

from downslope.training.evaluate import evaluate
from downslope.training.pacing import may_overfit
from downslope.training.session import Session

RISE, FALL = 2.0, 0.25  # factors of the decay from epoch to epoch
SHORTEST_MEMORY = 4  # epochs


def steer(session: Session, weights: tuple[object, object], row: dict[str, Any]) -> None:
    """Raise or lower the decay of the next epoch, where the plan leaves it to be steered.

    Args:
        session: its epoch is over.
        weights: (params, model_state) as they were measured.
        row: of the history, with the losses of the epoch.
    """
    least, validation = session.plan.least_decay, session.problem.validation
    if least is None or validation is None:
        return
    (params, model_state), n_rows = weights, len(validation.weights)
    loss, too_weak = row["validation_loss"], False
    if may_overfit([loss], [row["train_loss"]], n_rows):
        smaller = session.programs.shrunk(params), model_state
        too_weak = evaluate(session.problem.evaluation, *smaller, session.validation, n_rows).loss < loss
    most = max(least, 1.0 / (session.base_rate * SHORTEST_MEMORY * session.steps_per_epoch))
    session.progress.weight_decay = steered(session.weight_decay or least, too_weak, least, most)


def steered(weight_decay: float, too_weak: bool, least: float, most: float) -> float:
    """Return the decay of the next epoch, in [least, most].

    >>> steered(0.1, True, least=0.01, most=1.0), steered(0.1, False, least=0.1, most=1.0)
    (0.2, 0.1)
    """
    return min(max(weight_decay * (RISE if too_weak else FALL), least), most)
