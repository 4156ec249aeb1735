"""What the reference numbers of attacks were drawn from, by seed: pictures, noise, masks.

Everything comes from numpy's PCG64 and is float32-representable: a test can draw it again instead of reading it.
"""

import numpy as np


def pictures(seed: int, count: int, size: int) -> np.ndarray:
    """Synthetic 8-bit pictures (count, 3, size, size): smooth colours and a little noise."""
    rng = np.random.default_rng(seed)
    coarse = rng.uniform(20.0, 235.0, (count, 3, 7, 7))
    at = np.linspace(0.0, 6.0, size)
    low = np.minimum(at.astype(int), 5)
    part = at - low
    rows = coarse[:, :, low] * (1 - part)[:, None] + coarse[:, :, low + 1] * part[:, None]
    smooth = rows[:, :, :, low] * (1 - part) + rows[:, :, :, low + 1] * part
    return np.clip(np.rint(smooth + rng.normal(0.0, 12.0, smooth.shape)), 0, 255).astype(np.uint8)


def uniform(seed: int, shape: tuple[int, ...], low: float = -1.0, high: float = 1.0) -> np.ndarray:
    """Uniform numbers, as float64 arrays of float32 values."""
    return np.random.default_rng(seed).uniform(low, high, shape).astype(np.float32).astype(np.float64)


def normal(seed: int, shape: tuple[int, ...], scale: float = 1.0) -> np.ndarray:
    """Normal numbers, as float64 arrays of float32 values."""
    return (scale * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32).astype(np.float64)
