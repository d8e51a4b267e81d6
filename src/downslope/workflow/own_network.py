"""A network that the user brings: taken as a `Model`, and asked whether it fits before anything starts."""

from typing import Any

import jax
import jax.numpy as jnp

from downslope.data.encoding import Inputs
from downslope.errors import OptionError
from downslope.gradient.backprop import Batch, loss_and_gradient, training_objective
from downslope.gradient.precision import Precision, in_precision
from downslope.losses import Loss
from downslope.models.functional import Model, as_model
from downslope.workflow.arrays import AnyEncoding, ArrayEncoding


def own_model(network: Any, encoding: AnyEncoding) -> Model:
    """Return the user's network as a `Model`; of a table it is given the dense columns.

    Raises:
        OptionError: there is none, or a column is one that only the built-in networks can take.
    """
    if network is None:
        raise OptionError(
            "this run's network is your own: in Python, pass it too, such as Run.load(folder, model=network)"
        )
    model = as_model(network)
    if isinstance(encoding, ArrayEncoding):
        return model
    if encoding.embedding_sizes:
        raise OptionError(
            "model: a column has too many categories for a network of your own, which is given numbers; "
            "drop it, or group its rare categories"
        )

    def apply(params: Any, state: Any, inputs: Any, **context: Any) -> tuple[Any, Any]:
        return model.apply(params, state, inputs.dense, **context)

    return Model(lambda key, example: model.init(key, example.dense), apply)


def check_network(model: Model, loss: Loss, precision: Precision, batch: Batch, n_classes: int) -> None:
    """Refuse a network or a loss that cannot descend on these rows; shapes are followed, nothing computed.

    Args:
        model: the network.
        loss: what is descended.
        precision: what it is computed in.
        batch: rows as a step sees them.
        n_classes: of the target; 0 for regression.

    Raises:
        OptionError: it fails on the rows or in this precision, or its outputs are not what the loss takes;
            or the loss is not one number per row.
    """
    computed = in_precision(model, precision)
    descended = loss_and_gradient(training_objective(computed, loss), precision=precision)

    def outputs_of(key: jax.Array, batch: Batch) -> Any:
        params, state = model.init(key, batch.inputs)
        return computed.apply(params, state, batch.inputs, key=key, train=True, mask=batch.weights)[0]

    def first_gradient(key: jax.Array, batch: Batch) -> Any:
        params, state = model.init(key, batch.inputs)
        return descended(params, state, batch, key)

    try:
        outputs = jax.eval_shape(outputs_of, jax.random.key(0), batch)
        if not loss.is_own:
            _check_outputs(outputs, loss, len(batch.weights), n_classes)
        else:
            _check_losses(loss, outputs, batch)
        jax.eval_shape(first_gradient, jax.random.key(0), batch)
    except OptionError:
        raise
    except Exception as error:  # whatever it is that the network's own code raises
        inputs = batch.inputs.dense if isinstance(batch.inputs, Inputs) else batch.inputs
        shape = ", ".join(["rows", *map(str, inputs.shape[1:])])
        reason = " ".join(str(error).split()).rstrip(".") or type(error).__name__
        remedy = "" if precision.name == "float32" else ". Does it work in float32?"
        raise OptionError(
            f"the network: fails on inputs of shape ({shape}) in {precision.name}: {reason}{remedy}"
        ) from error


def _check_losses(loss: Loss, outputs: Any, batch: Batch) -> None:
    """Refuse a loss of the user's own that fails on the outputs, or is not one number per row."""
    if not hasattr(outputs, "shape"):
        raise OptionError(f"the network: must give one array, got {type(outputs).__name__}")
    n_rows = len(batch.weights)
    told = f"loss: {loss.name}(outputs, targets), of shapes {outputs.shape} and {batch.targets.shape},"
    try:
        found = jax.eval_shape(loss.per_example, outputs, batch.targets)
    except Exception as error:  # whatever it is that the loss's own code raises
        raise OptionError(f"{told} fails: {' '.join(str(error).split())}") from error
    shape = getattr(found, "shape", None)
    if shape != (n_rows,):
        gave = type(found).__name__ if shape is None else f"shape {shape}"
        raise OptionError(f"{told} must return one number per row, shape {(n_rows,)}; it gives {gave}")


def _check_outputs(outputs: Any, loss: Loss, n_rows: int, n_classes: int) -> None:
    shape = getattr(outputs, "shape", None)
    needed = loss.n_outputs(n_classes)
    if shape != (n_rows, needed):
        found = type(outputs).__name__ if shape is None else f"shape {shape}"
        per_row = f"{needed} outputs per row, one for each class" if needed > 1 else "one output per row"
        logit = n_classes == needed == 2 and shape == (n_rows, 1)
        remedy = "; or pass loss='binary-cross-entropy'" if logit else ""
        raise OptionError(
            f"the network: {loss.name} needs {per_row}, an array of shape {(n_rows, needed)} for "
            f"{n_rows} rows; it gives {found}{remedy}"
        )
    if not jnp.issubdtype(outputs.dtype, jnp.floating):
        raise OptionError(f"the network: gives {outputs.dtype}, which has no slope; give floating point")
