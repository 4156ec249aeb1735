"""What is an attention, and what only looks like one."""

from __future__ import annotations

from typing import Any

import pytest
import timm
import torch
from torch import fx, nn

from linbp import Model, Surrogate


class AcrossImages(nn.Module):
    """The softmax of products of images with each other, as timm's CSATv2 computes it: keys are images, not tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.layer, self.head = nn.Linear(3 * 4 * 4, 6), nn.Linear(6, 5)

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        value = self.layer(images.flatten(1))
        across = (value @ value.sin().transpose(-1, -2)).softmax(-1) @ value
        logits: torch.Tensor = self.head(value + 1e-14 * across)
        return logits


def test_a_softmax_over_the_images_of_a_batch_is_no_attention() -> None:
    torch.manual_seed(0)
    surrogate = Surrogate(Model(AcrossImages().double().eval(), input_size=(3, 4, 4)), cache=False)
    assert surrogate.attentions == ()
    assert len(surrogate.structure.softmaxes) == 1


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("vit_tiny_patch16_224", {"qk_norm": True}),
        ("vit_small_patch16_dinov3", {}),  # rotates query and key
        ("eva02_tiny_patch14_224", {}),  # the same, with half of the channels in the other order
    ],
)
def test_one_layer_stands_for_query_key_and_value_that_are_changed_behind_it(
    name: str, options: dict[str, Any]
) -> None:
    """Else a rule would act on query and key twice, there and behind what changes them."""
    module = timm.create_model(name, img_size=28 if "14" in name else 32, depth=2, embed_dim=24, num_heads=2, **options)
    side = module.patch_embed.img_size[0]
    surrogate = Surrogate(Model(module.double().eval(), input_size=(3, side, side)), cache=False)
    nodes: dict[str, fx.Node] = {node.name: node for node in surrogate._ordinary.graph.nodes}
    assert len(surrogate.attentions) == 2
    for attention in surrogate.attentions:
        (made,) = attention.projections
        assert nodes[made].target is torch.ops.aten.linear.default
        assert nodes[made].meta["val"].shape[-1] == 3 * 24
