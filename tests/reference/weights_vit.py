"""Deterministic weights for small vision transformers of timm, from a seed alone (no file to ship).

    net = timm.create_model("vit_tiny_patch16_224")
    state = net.state_dict()
    fill_vit(state, seed)
    net.load_state_dict(state)

The state dict is walked in its own order, as `weights.fill` does. Matrices of query, key and value are larger than
usual, so that attention is far from uniform and what a rule does to it shows; so is the head's, so that probabilities
are not all alike.
"""

import numpy as np
import torch

GAIN = {"qkv.weight": 1.4, "head.weight": 3.0}


def fill_vit(state_dict: dict[str, torch.Tensor], seed: int) -> None:
    """Draw every tensor in place from numpy's PCG64; the values are float32-representable."""
    rng = np.random.default_rng(seed)
    for name, tensor in state_dict.items():
        shape = tuple(tensor.shape)
        gain = next((value for end, value in GAIN.items() if name.endswith(end)), 1.0)
        if len(shape) == 4:  # the patches' embedding
            value = rng.standard_normal(shape) * np.sqrt(2.0 / (shape[1] * shape[2] * shape[3]))
        elif len(shape) == 2:
            value = gain * rng.standard_normal(shape) * np.sqrt(1.0 / shape[1])
        elif len(shape) == 3:  # class token, positions
            value = 0.3 * rng.standard_normal(shape)
        elif name.endswith("weight"):  # layer norm's scale
            value = rng.uniform(0.5, 1.5, shape)
        else:
            value = 0.1 * rng.standard_normal(shape)
        tensor.copy_(torch.from_numpy(np.asarray(value, dtype=np.float32)))
