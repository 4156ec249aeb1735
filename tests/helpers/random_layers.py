"""Building blocks of random networks: layers and arithmetic. Each takes and returns feature maps (N, 4, 8, 8)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
from torch import nn
from torch.nn import functional
from torch.nn.utils import parametrizations, prune, spectral_norm, weight_norm

Tensor = torch.Tensor
Draw = np.random.Generator
Block = Callable[[Draw], nn.Module]

CHANNELS, SIDE = 4, 8


class Apply(nn.Module):
    """A function as a module, with modules that it may use."""

    def __init__(self, function: Callable[..., Tensor], *parts: nn.Module) -> None:
        super().__init__()
        self.function, self.parts = function, nn.ModuleList(parts)

    def forward(self, value: Tensor) -> Tensor:
        return self.function(value, *self.parts)


def conv(draw: Draw) -> nn.Module:
    groups = int(draw.choice([1, 2, 4]))
    dilation = int(draw.integers(1, 3))
    mode = str(draw.choice(["zeros", "reflect", "circular"]))
    kind = {"padding": dilation, "dilation": dilation, "groups": groups, "padding_mode": mode}
    return nn.Conv2d(4, 4, 3, bias=bool(draw.integers(2)), **kind)  # type: ignore[arg-type]


def strided(draw: Draw) -> nn.Module:
    mode = str(draw.choice(["nearest", "bilinear", "bicubic"]))
    return nn.Sequential(nn.Conv2d(4, 4, 3, 2, 1), nn.Upsample(scale_factor=2, mode=mode))


def transposed(draw: Draw) -> nn.Module:
    return nn.Sequential(nn.ConvTranspose2d(4, 4, 2, 2), nn.AvgPool2d(2))


def batch_norm(draw: Draw) -> nn.Module:
    norm = nn.BatchNorm2d(4, affine=bool(draw.integers(2)))
    norm.running_mean.copy_(torch.randn(4) * 0.1)  # type: ignore[union-attr]
    norm.running_var.copy_(torch.rand(4) + 0.5)  # type: ignore[union-attr]
    return nn.Sequential(nn.Conv2d(4, 4, 1), norm) if draw.integers(2) else norm


def other_norm(draw: Draw) -> nn.Module:
    kinds: list[Callable[[], nn.Module]] = [
        lambda: nn.GroupNorm(2, 4),
        lambda: nn.LayerNorm([4, 8, 8]),
        lambda: nn.InstanceNorm2d(4, affine=True),
        lambda: nn.InstanceNorm2d(4, track_running_stats=True),
        lambda: nn.LocalResponseNorm(2),
        lambda: nn.RMSNorm([8]),
    ]
    return kinds[draw.integers(len(kinds))]()


def channels_last_norm(draw: Draw) -> nn.Module:
    return Apply(lambda value, norm: norm(value.permute(0, 2, 3, 1)).permute(0, 3, 1, 2), nn.LayerNorm(4))


def activation(draw: Draw) -> nn.Module:
    kinds = [
        nn.ReLU,
        nn.GELU,
        nn.SiLU,
        nn.Hardswish,
        nn.ELU,
        nn.Softplus,
        nn.Tanh,
        nn.Mish,
        nn.PReLU,
        nn.LeakyReLU,
        nn.CELU,
    ]
    return kinds[draw.integers(len(kinds))]()


def in_place_activation(draw: Draw) -> nn.Module:
    return nn.Sequential(nn.Conv2d(4, 4, 1), [nn.ReLU, nn.SiLU, nn.Hardtanh][draw.integers(3)](inplace=True))


def written_activation(draw: Draw) -> nn.Module:
    kinds: list[Callable[[Tensor], Tensor]] = [
        lambda value: value * torch.sigmoid(value),
        lambda value: value * torch.sigmoid(1.702 * value),
        lambda value: 0.5 * value * (1 + torch.erf(value / math.sqrt(2))),
        lambda value: value * functional.relu6(value + 3) / 6,
        lambda value: value * torch.tanh(functional.softplus(value)),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def pool(draw: Draw) -> nn.Module:
    kinds: list[nn.Module] = [
        nn.MaxPool2d(3, 1, 1),
        nn.AvgPool2d(3, 1, 1),
        nn.Sequential(nn.MaxPool2d(2), nn.Upsample(scale_factor=2)),
        nn.Sequential(nn.AdaptiveAvgPool2d(4), nn.Upsample(scale_factor=2)),
        Apply(lambda value: functional.max_pool2d(value, 3, 1, 1, return_indices=True)[0]),
        nn.LPPool2d(2, 1),
    ]
    return kinds[draw.integers(len(kinds))]


def gate(draw: Draw) -> nn.Module:
    squeeze = nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Conv2d(4, 2, 1), nn.ReLU(), nn.Conv2d(2, 4, 1), nn.Sigmoid())
    return Apply(lambda value, gates: value * gates(value), squeeze)


def _tokens(value: Tensor) -> Tensor:
    return value.flatten(2).transpose(1, 2)


def _maps(tokens: Tensor) -> Tensor:
    return tokens.transpose(1, 2).reshape(-1, CHANNELS, SIDE, SIDE)


def attention(draw: Draw) -> nn.Module:
    def fused(value: Tensor, layer: nn.Module) -> Tensor:
        query, key, content = layer(_tokens(value)).chunk(3, -1)
        return _maps(functional.scaled_dot_product_attention(query, key, content))

    def written(value: Tensor, layer: nn.Module) -> Tensor:
        query, key, content = layer(_tokens(value)).chunk(3, -1)
        return _maps((query @ key.transpose(1, 2) / 2).softmax(-1) @ content)

    return Apply(fused if draw.integers(2) else written, nn.Linear(4, 12))


def multihead(draw: Draw) -> nn.Module:
    def attend(value: Tensor, layer: nn.Module) -> Tensor:
        tokens = _tokens(value)
        return _maps(layer(tokens, tokens, tokens, need_weights=False)[0])

    return Apply(attend, nn.MultiheadAttention(4, 2, batch_first=True))


def encoder_layer(draw: Draw) -> nn.Module:
    layer = nn.TransformerEncoderLayer(4, 2, 8, batch_first=True, norm_first=bool(draw.integers(2)))
    return Apply(lambda value, inner: _maps(inner(_tokens(value))), layer)


def recurrent(draw: Draw) -> nn.Module:
    kind = [nn.GRU, nn.LSTM, nn.RNN][draw.integers(3)]
    return Apply(lambda value, cell: _maps(cell(_tokens(value))[0]), kind(4, 4, batch_first=True))


def dropouts(draw: Draw) -> nn.Module:
    kinds = [nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout]
    return kinds[draw.integers(len(kinds))](0.4)


def normed_weight(draw: Draw) -> nn.Module:
    layer = nn.Conv2d(4, 4, 3, padding=1)
    kinds: list[Callable[[nn.Module], nn.Module]] = [
        weight_norm,
        spectral_norm,
        parametrizations.weight_norm,
        parametrizations.spectral_norm,
        parametrizations.orthogonal,
        lambda one: prune.l1_unstructured(one, "weight", 0.5),
    ]
    return kinds[draw.integers(len(kinds))](layer)


def arithmetic(draw: Draw) -> nn.Module:
    kinds: list[Callable[[Tensor], Tensor]] = [
        lambda value: value.clamp(-1, 1) + 0.1 * value,
        lambda value: torch.where(value > 0, value, 0.3 * value),
        lambda value: value.masked_fill(value < -0.5, 0.1),
        lambda value: torch.maximum(value, value.flip(3)),
        lambda value: value.cumsum(2) * 0.2,
        lambda value: functional.normalize(value, dim=1),
        lambda value: value - value.logsumexp(1, keepdim=True),
        lambda value: value / (value.std((1, 2, 3), keepdim=True) + 1),
        lambda value: value * value.amax((2, 3), keepdim=True).sigmoid(),
        lambda value: value.abs().add(0.1).sqrt() * value.sign().detach(),
        lambda value: torch.addcmul(value, value, value, value=0.1),
        lambda value: value.sort(3)[0],
        lambda value: value.topk(8, 2)[0],
        lambda value: torch.lerp(value, value.roll(1, 2), 0.3),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def shapes(draw: Draw) -> nn.Module:
    kinds: list[Callable[[Tensor], Tensor]] = [
        lambda value: value.roll((1, 2), (2, 3)),
        lambda value: functional.pad(value, (1, 1, 1, 1), mode="replicate")[:, :, 1:-1, 2:],
        lambda value: functional.pixel_unshuffle(functional.pixel_shuffle(value, 2), 2),
        lambda value: torch.cat(value.chunk(2, 1)[::-1], 1),
        lambda value: torch.stack(value.unbind(1), 1),
        lambda value: value.reshape(value.shape[0], -1).view(value.size(0), 4, 8, 8),
        lambda value: value.transpose(2, 3).contiguous(),
        lambda value: value[:, [3, 1, 0, 2]],
        lambda value: value.index_select(1, torch.tensor([1, 0, 3, 2])),
        lambda value: torch.gather(value, 3, torch.arange(8).flip(0).expand(value.shape)),
        lambda value: torch.einsum("nchw,cd->ndhw", value, torch.eye(4, dtype=value.dtype)),
        lambda value: value.movedim(1, -1).unflatten(1, (4, 2)).flatten(1, 2).movedim(-1, 1),
        lambda value: functional.fold(functional.unfold(value, 2, stride=2), (8, 8), 2, stride=2),
        lambda value: torch.cat([value[:, :2] * 2, value[:, 2:].tile(1, 1, 1, 1)], 1),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


def spectrum(draw: Draw) -> nn.Module:
    return Apply(lambda value: torch.fft.irfft2(torch.fft.rfft2(value.float()) * 0.9, s=(8, 8)).to(value.dtype))


def warped(draw: Draw) -> nn.Module:
    def warp(value: Tensor) -> Tensor:
        turn = torch.tensor([[0.9, 0.1, 0.0], [-0.1, 0.9, 0.1]], dtype=value.dtype).expand(value.shape[0], 2, 3)
        grid = functional.affine_grid(turn, list(value.shape), align_corners=False)
        return functional.grid_sample(value, grid, align_corners=False)

    return Apply(warp)


def matrices(draw: Draw) -> nn.Module:
    kinds: list[Callable[[Tensor], Tensor]] = [
        lambda value: torch.bmm(value.flatten(0, 1), value.flatten(0, 1)).view(value.shape) * 0.1,
        lambda value: value @ value.transpose(2, 3) * 0.1,
        lambda value: torch.linalg.vector_norm(value, dim=1, keepdim=True) * value,
        lambda value: torch.tensordot(value, torch.ones(8, 8, dtype=value.dtype) / 8, dims=([3], [0])),
    ]
    return Apply(kinds[draw.integers(len(kinds))])


LAYERS: tuple[Block, ...] = (
    conv,
    strided,
    transposed,
    batch_norm,
    other_norm,
    channels_last_norm,
    activation,
    in_place_activation,
    written_activation,
    pool,
    gate,
    attention,
    multihead,
    encoder_layer,
    recurrent,
    dropouts,
    normed_weight,
    arithmetic,
    shapes,
    spectrum,
    warped,
    matrices,
)
