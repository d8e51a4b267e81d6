"""Many devices, one descent: every device holds the weights, feels the slope of its share of the batch,
and the shares are added up.

The rows of each batch are spread over the devices of a mesh; XLA's partitioner sees that the loss is a
mean over all of them and puts the sums between the devices where they are needed: in the gradient, and
in the statistics of batch normalisation. So a step computes the same on one device as on eight.

For networks larger than one device, weights and rule state can be spread too (Rajbhandari et al. 2020,
"ZeRO", https://arxiv.org/abs/1910.02054, stage 3): each device keeps a slice of every large array, and
the partitioner gathers what a product needs.
"""

from dataclasses import dataclass
from typing import Any

import jax
import numpy as np
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec

from downslope.errors import OptionError

AXIS = "rows"


@dataclass(frozen=True)
class Devices:
    """Where a descent runs.

    Attributes:
        mesh: the devices in one line; None: the default device alone.
        shard_parameters: spread weights and rule state too, instead of a copy on every device.
    """

    mesh: Mesh | None = None
    shard_parameters: bool = False

    @property
    def count(self) -> int:
        """How many devices there are."""
        return 1 if self.mesh is None else self.mesh.size

    def names(self) -> list[str]:
        """Return each device's name, ``"cpu:0"`` or ``"gpu:0 NVIDIA H100"``."""
        devices = jax.devices()[:1] if self.mesh is None else list(self.mesh.devices.flat)
        return [_name(device) for device in devices]

    def describe(self) -> str:
        """Return a few words for a person: ``"8 devices (cpu)"``."""
        names = self.names()
        if self.mesh is None:
            return names[0]
        kind = jax.devices()[0].device_kind
        spread = ", weights spread over them" if self.shard_parameters else ""
        return f"{self.count} devices ({kind}){spread}"

    def place_state(self, state: Any) -> Any:
        """Put what is carried from step to step on every device, or spread it over them."""
        if self.mesh is None:
            return state
        return jax.device_put(state, jax.tree.map(self._sharding_of, state))

    def place_data(self, data: Any) -> Any:
        """Put the training rows on every device: each looks its own share of a batch up by itself."""
        return jax.device_put(data, None if self.mesh is None else NamedSharding(self.mesh, PartitionSpec()))

    def spread(self, batch: Any) -> Any:
        """Inside compiled code: give every device an equal share of the batch's rows."""
        if self.mesh is None:
            return batch
        by_row = NamedSharding(self.mesh, PartitionSpec(AXIS))
        return jax.tree.map(lambda array: jax.lax.with_sharding_constraint(array, by_row), batch)

    def _sharding_of(self, leaf: Any) -> NamedSharding:
        assert self.mesh is not None
        shape = np.shape(leaf)
        divisible = [axis for axis, size in enumerate(shape) if size and size % self.count == 0]
        if not self.shard_parameters or not divisible:
            return NamedSharding(self.mesh, PartitionSpec())
        axis = max(divisible, key=lambda place: shape[place])
        return NamedSharding(self.mesh, PartitionSpec(*[None] * axis, AXIS))


ONE_DEVICE = Devices()


def choose_devices(devices: str | int | None, batch_size: int, shard: str | None = None) -> Devices:
    """Return the devices to run on.

    Args:
        devices: ``"all"``, a number, or None for the default device.
        batch_size: rows per gradient; every device needs at least one.
        shard: ``"parameters"`` to spread weights and rule state; None for a copy on every device.

    Raises:
        OptionError: more devices than there are, fewer rows in a batch than devices, or a bad value.
    """
    if shard not in (None, "parameters"):
        raise OptionError(f"--shard must be 'parameters', got '{shard}'")
    if devices is None:
        if shard is not None:
            raise OptionError("--shard parameters spreads weights over several devices; add --devices all")
        return ONE_DEVICE
    available = jax.devices()
    wanted = len(available) if devices == "all" else devices
    if not isinstance(wanted, int) or isinstance(wanted, bool) or wanted < 1:
        raise OptionError(f"--devices must be 'all' or a whole number of at least 1, got {devices!r}")
    if wanted > len(available):
        have = "1 device" if len(available) == 1 else f"{len(available)} devices"
        raise OptionError(f"--devices {wanted}: this machine has {have} ({available[0].device_kind})")
    if batch_size < wanted:
        raise OptionError(
            f"--batch-size {batch_size} is smaller than the number of devices, {wanted}; each needs a row: "
            f"raise the batch size, or pass --devices {batch_size}"
        )
    mesh = Mesh(np.array(available[:wanted]), (AXIS,), axis_types=(AxisType.Auto,))
    return Devices(mesh, shard is not None)


def _name(device: Any) -> str:
    kind = "" if device.device_kind.lower() == device.platform else f" {device.device_kind}"
    return f"{device.platform}:{device.id}{kind}"
