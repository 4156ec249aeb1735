"""The protocols that have a name, each with where its values were read and what is odd about it."""

from __future__ import annotations

from linbp.attack.protocol import Protocol
from linbp.data.preprocessing import Crop, Preparation, Resize, View
from linbp.errors import RecipeError, nearest_name

__all__ = ["PROTOCOLS", "find_protocol"]

RECROPPED: View = (
    Resize(side=256, interpolation="bilinear"),
    Crop(side=224),
    Resize(interpolation="nearest"),
)

ALL = (
    Protocol(
        name="linbp-2020-cifar10",
        title="The LinBP paper's released code on CIFAR-10",
        paper="Guo, Li, Chen: Backpropagating Linearly Improves Transferability of Adversarial Examples, NeurIPS 2020, "
        "arXiv 2012.03528",
        sources=(
            "qizhangli/linbp-attack: README.md",
            "qizhangli/linbp-attack: attack/cifar10/attack_vgg19.py",
            "qizhangli/linbp-attack: attack/cifar10/utils.py",
            "qizhangli/linbp-attack: attack/cifar10/test.py",
        ),
        preparation=Preparation(only=(32, 32)),
        eps=("0.03", "0.05", "0.1"),
        steps=(100,),
        step_size="1/255",
        target_rule="shift:1",
        victims=(),
        white_box=(),
        selection="every-victim",
        images="CIFAR-10 test images named in a list that the user makes (selected_cifar10.csv)",
        surrogates="VGG-19-BN with weights of its own",
        victim_networks="WRN-28-10 (dropout 0.3), ResNeXt-29 8x64d, DenseNet-BC 190-40, PyramidNet-272, GDAS",
        odd=(
            "eps 0.03 is 7.65 levels; rounding to the nearest level makes it 8, outside the ball.",
            "Success is 1 - accuracy over the whole list: it equals the share of fooled images only because the list "
            "should hold images that every victim knows.",
            "A test is a targeted one if the folder's name holds the letters of target, whatever the attack was.",
            "The method fgsm steps 2 eps as often as --niters says; pgd has no random start but fresh noise at every "
            "step.",
        ),
        unverified=(
            "eps 0.05 and 0.1, and that the list holds images right on every victim, stand in the paper, not in the "
            "code; the paper's text was not at hand.",
        ),
    ),
    Protocol(
        name="linbp-2020-imagenet",
        title="The LinBP paper's released code on ImageNet",
        paper="Guo, Li, Chen: Backpropagating Linearly Improves Transferability of Adversarial Examples, NeurIPS 2020, "
        "arXiv 2012.03528",
        sources=(
            "qizhangli/linbp-attack: README.md",
            "qizhangli/linbp-attack: attack/imagenet/attack_resnet50.py",
            "qizhangli/linbp-attack: attack/imagenet/utils.py",
            "qizhangli/linbp-attack: attack/imagenet/test.py",
        ),
        preparation=Preparation(resize=(256, 256), interpolation="bilinear", crop=(224, 224)),
        eps=("0.03", "0.05", "0.1"),
        steps=(300,),
        step_size="1/255",
        target_rule="shift:500",
        victims=RECROPPED,
        white_box=(),
        selection="every-victim",
        images="5,000 ImageNet validation images named in a list that the user makes (selected_imagenet.csv)",
        surrogates="ResNet-50 (resnet50-19c8e357.pth: torchvision:resnet50@IMAGENET1K_V1)",
        victim_networks="Inception v3, PNASNet-5-Large, SENet-154, DenseNet-121, MobileNet v2",
        odd=(
            "The test enlarges the 224-pixel adversarial images to 256, cuts 224 out of the middle and "
            "enlarges them again by "
            "repeating pixels to 299 (Inception v3) or 331 (PNASNet): victims see an eighth less of each side.",
            "The surrogate's own network sees the adversarial images as they are: white-box and victims' "
            "figures differ by more "
            "than the network.",
            "Photographs are squashed to 256 x 256, whatever their aspect ratio.",
            "eps 0.03 is 7.65 levels; rounding to the nearest level makes it 8, outside the ball.",
            "The method is told by letters in its name: mdi2fgsm with LinBP silently leaves diverse inputs out.",
            "A test is a targeted one if the folder's name holds the letters of target, whatever the attack was.",
        ),
        unverified=(
            "eps 0.05 and 0.1, 5,000 images, and that they are right on every victim, stand in the paper, not in the "
            "code; the paper's text was not at hand.",
            "The attack on Inception v3 was not released; only the test for its adversarial images is.",
        ),
    ),
    Protocol(
        name="ta-bench-2023",
        title="TA-Bench, a benchmark of transfer attacks",
        paper="Li, Guo, Zuo, Chen: Towards Evaluating Transfer-based Attacks Systematically, Practically, and Fairly, "
        "NeurIPS 2023, arXiv 2311.01323",
        sources=(
            "qizhangli/TA-Bench: README.md",
            "qizhangli/TA-Bench: configs/base.py",
            "qizhangli/TA-Bench: utils.py",
            "qizhangli/TA-Bench: evaluation.py",
            "qizhangli/TA-Bench: attacks/helper.py",
            "qizhangli/TA-Bench: data/rand_5000.csv",
            "huggingface/pytorch-image-models: timm/data/transforms_factory.py",
        ),
        preparation=None,
        eps=("8/255", "16/255"),
        steps=(100,),
        step_size="1/255",
        target_rule=None,
        victims=(Resize(enlarged=True), Crop()),
        white_box=(Resize(enlarged=True), Crop()),
        selection="every-victim",
        images="5,000 ImageNet validation images right on ten networks (data/rand_5000.csv, labels from 0)",
        surrogates="timm 0.6.11's tv_resnet50, inception_v3, vgg19_bn, convnext_base, vit_base_patch16_224, "
        "deit3_base_patch16_224, beit_base_patch16_224, swin_base_patch4_window7_224, mixer_b16_224, "
        "tf_efficientnetv2_m",
        victim_networks="the same ten, or any of timm's",
        odd=(
            "Adversarial images go through the whole resizing and cropping of a photograph a second time "
            "before a network sees "
            "them: a network with crop fraction 0.875 sees an eighth less of each side, one with 1 all of it.",
            "That holds for the surrogate's own network too: its figure is not that of the pixels that were attacked.",
            "The size of the images is the surrogate's: adversarial images of Inception v3 have 299 pixels, "
            "those of ResNet-50 224, "
            "so that surrogates are compared on different crops of the photographs.",
            "The second resizing is of tensors, in torchvision 0.13 without antialiasing, and bicubic values are not "
            "brought back into [0, 1].",
            "Success is 1 - accuracy on the adversarial images; whether a network knows the clean image after "
            "the second crop is "
            "not asked.",
            "Its LinBP takes norms over the whole batch: an adversarial image depends on the rest of its batch.",
        ),
        unverified=(
            "timm 0.6.11 itself was not read; a later version resizes the shorter side to floor(size / crop fraction).",
            "eps 16/255 is the README's example of another radius; L2 radii stand in the paper, which was not at hand.",
        ),
    ),
    Protocol(
        name="transferattack",
        title="The TransferAttack framework",
        paper="no paper; github.com/Trustworthy-AI-Group/TransferAttack",
        sources=(
            "Trustworthy-AI-Group/TransferAttack: README.md",
            "Trustworthy-AI-Group/TransferAttack: main.py",
            "Trustworthy-AI-Group/TransferAttack: transferattack/attack.py",
            "Trustworthy-AI-Group/TransferAttack: transferattack/utils.py",
            "Trustworthy-AI-Group/TransferAttack: transferattack/gradient/mifgsm.py",
            "Trustworthy-AI-Group/TransferAttack: transferattack/model_related/linbp.py",
        ),
        preparation=Preparation(resize=(224, 224), interpolation="bicubic"),
        eps=("16/255",),
        steps=(10, 300),
        step_size="1.6/255",
        rounding="truncate",
        target_rule="column",
        victims=(Resize(interpolation="bilinear"),),
        white_box=(Resize(interpolation="bilinear"),),
        selection=None,
        images="1,000 ImageNet validation images, one a class, of a list with the columns filename, label and "
        "targeted_label",
        surrogates="torchvision's (weights DEFAULT) and timm's networks; ResNet-50 for LinBP",
        victim_networks="ResNet-50, VGG-16, MobileNet v2, Inception v3, ViT-B/16, PiT-B, Visformer-S, Swin-T "
        "(earlier: ResNet-18, ResNet-101, ResNeXt-50, DenseNet-121 and the same four transformers)",
        odd=(
            "Saving cuts fractions of a level off instead of rounding: with steps of 1.6 levels adversarial "
            "images get darker by "
            "up to a level, half of one on average where the change is no whole number.",
            "The options --eps, --epoch, --alpha and --momentum are read and not passed on: each attack runs with the "
            "defaults of its class. That of LinBP takes 300 steps of 1.6/255 where its own text says 10.",
            "weights DEFAULT are today's V2 weights where torchvision has them: another ResNet-50 than the paper's.",
            "Inception v3 is normalised twice: by DEFAULT's transform_input and again by (x - 0.5) / 0.5. Here it is "
            "normalised once.",
            "Where no image of a class was right on all networks, one right on most was taken, and success is "
            "1 - accuracy over all 1,000: it is above 0 for clean images.",
            "Photographs are squashed to 224 x 224, whatever their aspect ratio. Palette and grey images are resized "
            "before they become RGB; here after.",
            "Its LinBP moves away from the target in targeted attacks.",
        ),
        unverified=(
            "The list itself was not at hand.",
            "Networks of other sizes than 224 and 299 get 224 pixels there, where they take them; here their own size.",
        ),
    ),
)

PROTOCOLS: dict[str, Protocol] = {protocol.name: protocol for protocol in ALL}
"""Every protocol by its name."""


def find_protocol(name: str) -> Protocol:
    """The protocol of that name.

    Raises:
        RecipeError: there is none.
    """
    if name not in PROTOCOLS:
        raise RecipeError(f"There is no protocol called {name!r}.", nearest_name(name, PROTOCOLS))
    return PROTOCOLS[name]
