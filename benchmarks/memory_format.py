"""Which memory format is faster for which family, and whether `auto` takes it: medians of interleaved gradients.

python benchmarks/memory_format.py
"""

from __future__ import annotations

import timm
import torch
from step import medians

import linbp

NETWORKS = ("resnet18", "vgg11_bn", "densenet121", "mobilenetv2_100", "efficientnet_b0", "convnext_atto",
            "vit_tiny_patch16_224", "swin_tiny_patch4_window7_224", "mixer_s32_224")  # fmt: skip


def main() -> None:
    images = torch.rand(8, 3, 224, 224)
    labels = torch.arange(8)
    print("| network | channels_last / contiguous | `auto` takes |\n|---|---:|---|")
    for name in NETWORKS:
        torch.manual_seed(0)
        model = linbp.Model(timm.create_model(name), input_size=(3, 224, 224))
        both = {
            word: linbp.Surrogate(model, memory_format=word, cache=False)  # type: ignore[arg-type]
            for word in ("contiguous", "channels_last", "auto")
        }
        auto = both.pop("auto").memory_format
        found = medians({word: lambda s=s: s.gradient(images, labels) for word, s in both.items()}, 5)
        print(f"| {name} | {found['channels_last'] / found['contiguous']:.2f} | {auto} |", flush=True)


if __name__ == "__main__":
    main()
