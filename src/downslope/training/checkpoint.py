"""A descent on disk, so that it can be taken up again as if it had never stopped.

Orbax writes in the background, into a folder that gets its final name only when it is whole, so a
crash can never leave half a checkpoint that looks like one. The newest two are kept.
"""

import logging
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import orbax.checkpoint as ocp

from downslope import pytrees
from downslope.errors import RunFolderError


class Checkpoints:
    """The checkpoints of one run.

    Args:
        folder: where they are; created when the first is written.
    """

    def __init__(self, folder: Path):
        logging.getLogger("absl").setLevel(logging.ERROR)  # Orbax tells every save at length
        self._folder = folder.absolute()
        self._copy = jax.jit(lambda tree: jax.tree.map(jnp.copy, tree))
        self._manager = ocp.CheckpointManager(
            self._folder,
            options=ocp.CheckpointManagerOptions(max_to_keep=2, enable_async_checkpointing=True, create=True),
        )

    def save(self, step: int, arrays: Any, progress: dict[str, Any]) -> None:
        """Write pytree `arrays` and JSON `progress` in the background; waits for the one before, if any."""
        if step in self._manager.all_steps():
            return
        # Copies of its own: the next compiled call reuses the buffers of the state it is given.
        named = self._copy(_storable(arrays))
        self._manager.save(
            step,
            args=ocp.args.Composite(
                arrays=ocp.args.StandardSave(named), progress=ocp.args.JsonSave(progress)
            ),
        )

    def latest(self) -> int | None:
        """Return the step of the newest whole checkpoint, or None."""
        return self._manager.latest_step()

    def restore(self, like: Any) -> tuple[Any, dict[str, Any]]:
        """Return (arrays, progress) of the newest checkpoint.

        Args:
            like: a pytree of the structure, shapes and dtypes to expect.

        Raises:
            RunFolderError: there is none, or it does not fit.
        """
        step = self.latest()
        if step is None:
            raise RunFolderError(
                f"{self._folder}: no checkpoint to resume from; train again with --overwrite"
            )
        expected = jax.tree.map(ocp.utils.to_shape_dtype_struct, _storable(like))
        try:
            found = self._manager.restore(
                step,
                args=ocp.args.Composite(
                    arrays=ocp.args.StandardRestore(expected), progress=ocp.args.JsonRestore()
                ),
            )
        except Exception as error:  # Orbax raises many kinds; to the user they are one
            raise RunFolderError(
                f"{self._folder / str(step)}: this checkpoint cannot be read ({_first_line(error)}); "
                f"delete that folder to resume from the one before, or train again with --overwrite"
            ) from error
        leaves = [
            found["arrays"].get(name, leaf)
            for name, leaf in zip(pytrees.paths(like), jax.tree.leaves(like), strict=True)
        ]
        return jax.tree.unflatten(jax.tree.structure(like), leaves), found["progress"]

    def close(self) -> None:
        """Wait until everything is written."""
        self._manager.wait_until_finished()
        self._manager.close()


def _storable(tree: Any) -> dict[str, Any]:
    """Return the leaves by name; Orbax stores no arrays of size zero, and they hold nothing to store."""
    named = zip(pytrees.paths(tree), jax.tree.leaves(tree), strict=True)
    return {name: leaf for name, leaf in named if leaf.size > 0}


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
