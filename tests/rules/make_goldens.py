"""Write goldens.npz: the trajectories of torch.optim that our rules must follow.

Run once, where torch is installed, from the root of the repository:

    python tests/rules/make_goldens.py

Every case runs 100 steps in float64 on the elementwise gradient

    g = a·(x − c) + b·sin(3x) + 0.1·cos(t + phase)

(a bowl, ripples, and a "noise" that depends on the step t = 0, 1, …), on a matrix, a vector, a tensor of
three axes and a scalar, which are stored as one flat vector. The tests read everything from the file: the
cases, the start, the coefficients and the params after some of the steps.
"""

import json
import math
from pathlib import Path

import numpy as np
import torch
from torch.optim import _muon

SHAPES = {"matrix": (4, 3), "vector": (5,), "tensor": (2, 3, 2), "scalar": ()}
STEPS = 100
KEPT = (1, 2, 10, 50, 100)

# name of the case: (torch class, torch's arguments, our rule, our arguments, learning rate)
DECAY = {"weight_decay": 0.05}
ALL_DECAY = {**DECAY, "decay_mask": None}
CASES = {
    "gradient-descent": ("SGD", {}, "gradient-descent", {}, 0.05),
    "sgd": ("SGD", {}, "sgd", {}, 0.05),
    "sgd-decay": ("SGD", DECAY, "sgd", ALL_DECAY, 0.05),
    "momentum": ("SGD", {"momentum": 0.9}, "momentum", {"momentum": 0.9}, 0.02),
    "momentum-damped-decay": (
        "SGD",
        {"momentum": 0.8, "dampening": 0.3, **DECAY},
        "momentum",
        {"momentum": 0.8, "dampening": 0.3, **ALL_DECAY},
        0.02,
    ),
    "nesterov": ("SGD", {"momentum": 0.9, "nesterov": True}, "nesterov", {}, 0.02),
    "nesterov-decay": ("SGD", {"momentum": 0.9, "nesterov": True, **DECAY}, "nesterov", ALL_DECAY, 0.02),
    "adagrad": ("Adagrad", {}, "adagrad", {}, 0.1),
    "adagrad-decay": (
        "Adagrad",
        {"initial_accumulator_value": 0.1, **DECAY},
        "adagrad",
        {"initial_accumulator": 0.1, **ALL_DECAY},
        0.1,
    ),
    "adadelta": ("Adadelta", {}, "adadelta", {}, 1.0),
    "adadelta-decay": ("Adadelta", {"rho": 0.95, **DECAY}, "adadelta", {"rho": 0.95, **ALL_DECAY}, 1.0),
    "rmsprop": ("RMSprop", {}, "rmsprop", {}, 0.01),
    "rmsprop-decay": ("RMSprop", DECAY, "rmsprop", ALL_DECAY, 0.01),
    "rmsprop-centered": ("RMSprop", {"centered": True}, "rmsprop", {"centered": True}, 0.01),
    "rmsprop-centered-momentum-decay": (
        "RMSprop",
        {"centered": True, "momentum": 0.5, **DECAY},
        "rmsprop",
        {"centered": True, "momentum": 0.5, **ALL_DECAY},
        0.005,
    ),
    "adam": ("Adam", {}, "adam", {}, 0.01),
    "adam-decay": (
        "Adam",
        {"betas": (0.8, 0.95), **DECAY},
        "adam",
        {"b1": 0.8, "b2": 0.95, **ALL_DECAY},
        0.01,
    ),
    "amsgrad": ("Adam", {"amsgrad": True}, "amsgrad", {}, 0.01),
    "amsgrad-decay": ("Adam", {"amsgrad": True, **DECAY}, "amsgrad", ALL_DECAY, 0.01),
    "adamax": ("Adamax", {}, "adamax", {}, 0.01),
    "adamax-decay": ("Adamax", DECAY, "adamax", ALL_DECAY, 0.01),
    "nadam": ("NAdam", {}, "nadam", {}, 0.01),
    "nadam-decay": ("NAdam", DECAY, "nadam", ALL_DECAY, 0.01),
    "nadamw": (
        "NAdam",
        {"decoupled_weight_decay": True, "weight_decay": 0.01},
        "nadamw",
        {"decay_mask": None},
        0.01,
    ),
    "nadamw-decay": ("NAdam", {"decoupled_weight_decay": True, **DECAY}, "nadamw", ALL_DECAY, 0.01),
    "nadamw-no-decay": ("NAdam", {"decoupled_weight_decay": True}, "nadamw", {"weight_decay": 0.0}, 0.01),
    "radam": ("RAdam", {}, "radam", {}, 0.01),
    "radam-decay": ("RAdam", {"betas": (0.9, 0.99), **DECAY}, "radam", {"b2": 0.99, **ALL_DECAY}, 0.01),
    "adamw": ("AdamW", {}, "adamw", {"decay_mask": None}, 0.01),
    "adamw-decay": ("AdamW", DECAY, "adamw", ALL_DECAY, 0.01),
    "adamw-no-decay": ("AdamW", {"weight_decay": 0.0}, "adamw", {"weight_decay": 0.0}, 0.01),
    "adafactor": ("Adafactor", {}, "adafactor", {}, 0.01),
    "adafactor-relative-decay": (
        "Adafactor",
        {"beta2_decay": -0.7, **DECAY},
        "adafactor",
        {"decay_power": 0.7, **ALL_DECAY},
        0.3,
    ),
    # Only the matrix, transposed, since torch's are (outputs, inputs); and in float64 all through.
    "muon": ("Muon", {}, "muon", {}, 0.02),
    "muon-match-no-nesterov": (
        "Muon",
        {"nesterov": False, "adjust_lr_fn": "match_rms_adamw", "momentum": 0.9, **DECAY},
        "muon",
        {"nesterov": False, "scale": "match_rms_adamw", "momentum": 0.9, **ALL_DECAY},
        0.02,
    ),
    "muon-no-decay": ("Muon", {"weight_decay": 0.0}, "muon", {"weight_decay": 0.0}, 0.02),
}


def newton_schulz_in_float64(grad, ns_coefficients, ns_steps, eps):
    """Do what torch.optim.Muon does, without its rounding to bfloat16, which would drown any comparison."""
    a, b, c = ns_coefficients
    x = grad.T if grad.size(0) > grad.size(1) else grad
    x = x / x.norm().clamp(min=eps)
    for _ in range(ns_steps):
        gram = x @ x.T
        x = a * x + (b * gram + c * gram @ gram) @ x
    return x.T if grad.size(0) > grad.size(1) else x


def trajectory(optimizer: str, arguments: dict, learning_rate: float, problem: dict) -> np.ndarray:
    shapes = {"matrix": SHAPES["matrix"]} if optimizer == "Muon" else SHAPES
    size = sum(math.prod(shape) for shape in shapes.values())
    a, b, c, phase, x = (torch.tensor(problem[key][:size]) for key in ("a", "b", "c", "phase", "start"))
    sizes = [math.prod(shape) for shape in shapes.values()]
    params = [
        torch.nn.Parameter(part.reshape(shape).clone())
        for part, shape in zip(x.split(sizes), shapes.values(), strict=True)
    ]
    stepper = getattr(torch.optim, optimizer)(params, lr=learning_rate, **arguments)
    kept = []
    for t in range(STEPS):
        x = torch.cat([p.detach().flatten() for p in params])
        g = a * (x - c) + b * torch.sin(3 * x) + 0.1 * torch.cos(t + phase)
        for p, part in zip(params, g.split(sizes), strict=True):
            p.grad = part.reshape(p.shape)
        stepper.step()
        if t + 1 in KEPT:
            kept.append(torch.cat([p.detach().flatten() for p in params]).numpy())
    return np.stack(kept)


def plateau_trajectory(values: np.ndarray) -> np.ndarray:
    stepper = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=1.0)
    plateau = torch.optim.lr_scheduler.ReduceLROnPlateau(
        stepper, factor=0.5, patience=3, threshold=0.01, cooldown=2, min_lr=0.1
    )
    multipliers = []
    for value in values:
        plateau.step(value)
        multipliers.append(stepper.param_groups[0]["lr"])
    return np.array(multipliers)


def main() -> None:
    torch.set_default_dtype(torch.float64)  # NAdam keeps its product of momenta in the default dtype
    _muon._zeropower_via_newtonschulz = newton_schulz_in_float64
    size = sum(math.prod(shape) for shape in SHAPES.values())
    index = np.arange(size, dtype=np.float64)
    problem = {
        "a": 1.5 + np.cos(index),
        "b": 0.3 * np.sin(2 * index),
        "c": np.cos(3 * index),
        "phase": index,
        "start": 1.5 * np.sin(index + 1),
    }
    arrays = {
        f"trajectory/{name}": trajectory(optimizer, arguments, learning_rate, problem)
        for name, (optimizer, arguments, _, _, learning_rate) in CASES.items()
    }
    cases = {name: {"rule": r, "hyper": h, "learning_rate": lr} for name, (_, _, r, h, lr) in CASES.items()}
    step = np.arange(60)
    values = 1 / (1 + 0.2 * np.minimum(step, 20)) + 0.02 * np.cos(5.0 * step)
    np.savez_compressed(
        Path(__file__).with_name("goldens.npz"),
        cases=json.dumps({"torch": torch.__version__, "shapes": SHAPES, "kept": KEPT, "cases": cases}),
        **problem,
        **arrays,
        plateau_values=values,
        plateau_multipliers=plateau_trajectory(values),
    )


if __name__ == "__main__":
    main()
