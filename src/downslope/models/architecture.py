"""The networks that a name and a few numbers describe, so that a run folder needs no code to be read."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from typing import Any

import jax

from downslope.errors import RunFolderError
from downslope.models.functional import Model, from_nnx
from downslope.models.layers import Columns, fixed_of
from downslope.models.linear import Linear
from downslope.models.mlp import MLP, HiddenLayers

PERCEPTRON = ("hidden", "activation", "batch_norm", "layer_norm", "group_norm", "dropout")


@dataclass(frozen=True)
class Architecture:
    """A network for tables, in numbers.

    Attributes:
        model: ``"linear"`` or ``"mlp"``.
        columns: what the columns of the table are.
        n_outputs: classes, or 1.
        hidden: width of each hidden layer; empty for ``"linear"``.
        activation, batch_norm, layer_norm, group_norm, dropout: see `models.mlp.MLP`.
    """

    model: str
    columns: Columns
    n_outputs: int
    hidden: tuple[int, ...] = ()
    activation: str = "silu"
    batch_norm: bool = False
    layer_norm: bool = False
    group_norm: int = 0
    dropout: float = 0.0

    @property
    def alike(self) -> "Architecture":
        """The same network but for the edges of its ramps, which are its data's."""
        return replace(self, columns=self.columns.alike)

    def build(self) -> Model:
        """Return the network as an (init, apply) pair; networks that are alike share one `apply`."""
        init, apply = _built(self.alike, hidden_only=False)

        def with_edges(key: jax.Array, example: Any) -> tuple[Any, Any]:
            params, state = init(key, example)
            return params, {**state, **fixed_of(self.columns)}

        return Model(with_edges if self.columns.n_ramps else init, apply)

    def hidden_layers(self) -> Model | None:
        """Return the hidden layers' answers as a `Model` with the same weights; None without such layers."""
        return _built(self.alike, hidden_only=True) if self.model == "mlp" and self.hidden else None

    def to_json(self) -> dict[str, Any]:
        """Return the content of model.json."""
        return asdict(self)

    @classmethod
    def from_json(cls, content: Mapping[str, Any]) -> "Architecture":
        """Read what `to_json` wrote; RunFolderError where it does not describe a network."""
        try:
            described = content["columns"]
            columns = Columns(
                int(described["n_dense"]),
                tuple(map(int, described["embedding_sizes"])),
                tuple(tuple(map(float, edges)) for edges in described["edges"]),
            )
            architecture = cls(
                **{**content, "columns": columns, "hidden": tuple(map(int, content["hidden"]))}
            )
            architecture.build()
        except (TypeError, ValueError, KeyError) as error:
            raise RunFolderError(f"model.json: damaged ({error}); train again with --overwrite") from None
        return architecture

    def __str__(self) -> str:
        """Return, for example, ``mlp 64 → 128 → 10, relu, dropout 0.1``."""
        columns = self.columns
        inputs = f"{columns.n_dense}"
        inputs += f" + {columns.n_ramps} ramps" if columns.n_ramps else ""
        inputs += "".join(f" + {size} codes" for size in columns.embedding_sizes)
        widths = " → ".join([inputs, *map(str, self.hidden), str(self.n_outputs)])
        extras = [self.activation] if self.hidden else []
        extras += ["batch norm"] * self.batch_norm + ["layer norm"] * self.layer_norm
        extras += [f"group norm {self.group_norm}"] if self.group_norm else []
        extras += [f"dropout {self.dropout:g}"] if self.dropout else []
        return ", ".join([f"{self.model} {widths}", *extras])


@lru_cache(maxsize=64)
def _built(architecture: Architecture, hidden_only: bool) -> Model:
    own = architecture
    if own.model == "linear":
        model = from_nnx(lambda rngs: Linear(own.columns, own.n_outputs, rngs=rngs))
    else:
        kind = HiddenLayers if hidden_only else MLP
        options = {name: getattr(own, name) for name in PERCEPTRON}
        model = from_nnx(lambda rngs: kind(own.columns, own.n_outputs, **options, rngs=rngs))
    return model._replace(init=jax.jit(model.init))
