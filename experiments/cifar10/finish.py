"""What the end of a source's training does to attacks on it: a few more epochs that fit the training images closely.

Goes on from a VGG-19-BN of 40 epochs, all of them shifted, for some epochs without shifts and without an average of
weights, once with the labels as they are and once with label smoothing; everything else is the same, seed, order and
rates included. Then the three networks are attacked on the same test images. A finished network is kept in `--work` and
not trained again.

    linbp zoo train vgg19_bn --epochs 40 --unshifted 0 --data cifar10 --out early
    python experiments/cifar10_finish.py --data cifar10 --source early/vgg19_bn/vgg19_bn.safetensors
"""

from __future__ import annotations

import copy
from pathlib import Path

import torch
from cifar10_smoothing import arguments, compare
from safetensors.torch import load_file, save_file

import linbp
from linbp.data.cifar10 import Cifar10, load_cifar10
from linbp.models.cifar10 import read_card
from linbp.training.cifar10.augment import Epoch
from linbp.training.cifar10.trainer import Trainer, count_right
from linbp.zoo import Training

SMOOTHINGS = (0.0, 0.1)
RECIPES = (
    "ifgsm",
    "mifgsm",
    "tapfgsm",
    "ifgsm >> ila(at=features.23)",
    "linbp(start=features.23)",
    "linbp(start=features.23) + di(scale=8/7) + mi",
)


def finished(model: linbp.Model, data: Cifar10, settings: Training, path: Path) -> linbp.Model:
    """The model after some more epochs."""
    made = copy.deepcopy(model)
    made.name = path.stem
    if not path.is_file():
        per_epoch = len(data.train_images) // settings.batch_size
        trainer = Trainer(settings, settings.epochs * per_epoch, per_epoch, torch.device("cpu"))
        for network in (trainer.network, trainer.average):
            network.load_state_dict(model.module.state_dict())
        for number in range(settings.epochs):
            epoch = Epoch(data.train_images, data.train_labels, settings, number)
            for batch in range(per_epoch):
                trainer.step(epoch, batch, number * per_epoch + batch)
            loss, right = trainer.read_sums()
            trainer.clear_sums()
            tested = count_right(trainer.average, data.test_images, data.test_labels)
            print(
                f"{path.stem}, epoch {number + 1}: loss {loss / per_epoch:.4f}, accuracy "
                f"{right / (per_epoch * settings.batch_size):.2%} while training, {tested} test images right",
                flush=True,
            )
        path.parent.mkdir(parents=True, exist_ok=True)
        save_file({name: tensor.contiguous() for name, tensor in trainer.average.state_dict().items()}, path)
    made.module.load_state_dict(load_file(path))
    return made


def main() -> None:
    parser = arguments(__doc__ or "")
    parser.add_argument("--work", type=Path, default=Path("cifar10-work"), help="folder for the networks")
    parser.add_argument("--source", type=Path, required=True, help="weights of the network to go on from")
    parser.add_argument("--epochs", type=int, default=8)
    options = parser.parse_args()
    data, card = load_cifar10(options.data), read_card(options.source)
    source = linbp.load_model(f"cifar10:{options.source}")
    networks = {str(options.source): source}
    for smoothing in SMOOTHINGS:
        settings = Training(
            architecture=card["architecture"],
            width=card["width"],
            epochs=options.epochs,
            learning_rate=0.02,
            warm_up=0.0,
            label_smoothing=smoothing,
            crop=0,
            average=0.0,
            precision="mixed",
        )
        name = f"{options.epochs} epochs more, smoothing {smoothing:g}"
        path = options.work / f"{card['file_sha256'][:8]}-{options.epochs}-{smoothing:g}.safetensors"
        networks[name] = finished(source, data, settings, path)
    compare(networks, data, options.recipe or [*RECIPES], options)


if __name__ == "__main__":
    main()
