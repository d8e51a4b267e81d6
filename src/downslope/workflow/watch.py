"""The sharpness, watched while a network is trained."""

from collections.abc import Callable
from typing import Any

from downslope.gradient.backprop import Batch, evaluation_objective
from downslope.gradient.curvature import extreme_eigenvalues, hessian_product, stacked
from downslope.losses import Loss
from downslope.models.functional import Model
from downslope.pytrees import count
from downslope.training.evaluate import cut, even_part

ROWS_WATCHED = 2048  # a part of the rows that says nearly the same
TOLERANCE = 0.02
MOST_PRODUCTS = 40


def watch_sharpness(model: Model, loss: Loss, rows: Batch) -> Callable[[Any, Any], float]:
    """Return ``sharpness(params, model_state)``: the largest eigenvalue of the Hessian, to about 2 %.

    It is that of the loss in evaluation mode, on the training rows, or on an even part of them where there
    are more than 2048. Plain gradient descent is stable while it stays below 2/step_size (Cohen et al.
    2021, "Gradient Descent on Neural Networks Typically Occurs at the Edge of Stability",
    https://arxiv.org/abs/2103.00065, section 2).
    """
    some = even_part(rows, ROWS_WATCHED)
    batches = stacked(cut(some, len(some.weights)))
    objective = evaluation_objective(model, loss)
    products: list[Any] = []  # one, made when the structure of the weights is known

    def sharpness(params: Any, model_state: Any) -> float:
        if not products:
            products.append(hessian_product(objective, params))
        found = extreme_eigenvalues(
            products[0],
            count(params),
            params,
            model_state,
            batches,
            tolerance=TOLERANCE,
            most_products=MOST_PRODUCTS,
            ends="largest",
        )
        return found.largest

    return sharpness
