"""The recipes of the paper's section 4, and one for two cores.

What the paper leaves open is set as its fields say: batch sizes, and the crops of CUB-200 and
UCF-101.
"""

from __future__ import annotations

from gspnl.train.recipes.definition import RECIPES, Recipe

CROPPED = ("random_resized_crop(224)", "flip")
CENTRE = ("resize(256)", "centre_crop(224)")

RECIPES.register("cifar10-preresnet20")(Recipe(data="cifar10", backbone="preresnet20"))
RECIPES.register("cifar100-preresnet56")(Recipe(data="cifar100", backbone="preresnet56"))
RECIPES.register("cifar100-resnet50")(
    Recipe(data="cifar100", backbone="resnet50", backbone_options={"stem": "cifar"})
)
RECIPES.register("cub200-resnet50")(
    Recipe(
        data="cub200",
        backbone="resnet50",
        backbone_options={"stem": "imagenet"},
        epochs=200,
        batch_size=64,
        milestones=(31, 61, 81),
        augmentation=CROPPED,
        evaluation=CENTRE,
        pretrained="resnet50.pth",  # what torchvision publishes, trained on ImageNet
    )
)
RECIPES.register("ucf101-i3d")(
    # The paper starts from weights trained on Kinetics: `pretrained` names a file of such.
    Recipe(
        data="ucf101",
        backbone="i3d_resnet50",
        epochs=100,
        batch_size=32,
        milestones=(40, 80),
        augmentation=CROPPED,
        evaluation=CENTRE,
    )
)
RECIPES.register("mini")(
    Recipe(
        data="folder",
        backbone="preresnet20",
        epochs=12,
        batch_size=64,
        learning_rate=0.1,
        weight_decay=5e-4,
        nesterov=True,
        schedule="linear",
        warmup=2.0,
        precision="bfloat16",
        channels_last=True,
        augmentation=("pad_crop(2)", "flip"),  # 12 epochs are too few for larger shifts
    )
)
