"""The recipes of the paper's section 4, and one for two cores.

What the paper leaves open is set as its fields say: batch sizes, and the crops of CUB-200 and
UCF-101.
"""

from __future__ import annotations

from typing import Any

from gspnl.train.recipes.definition import RECIPES, Recipe

CROPS = {
    "augmentation": ("random_resized_crop(224)", "flip"),
    "evaluation": ("resize(256)", "centre_crop(224)"),
}
FIELDS: dict[str, dict[str, Any]] = {
    "cifar10-preresnet20": {"data": "cifar10", "backbone": "preresnet20"},
    "cifar100-preresnet56": {"data": "cifar100", "backbone": "preresnet56"},
    "cifar100-resnet50": {
        "data": "cifar100", "backbone": "resnet50", "backbone_options": {"stem": "cifar"},
    },
    "cub200-resnet50": {
        "data": "cub200", "backbone": "resnet50", "backbone_options": {"stem": "imagenet"},
        "epochs": 200, "batch_size": 64, "milestones": (31, 61, 81), **CROPS,
        "pretrained": "resnet50.pth",  # what torchvision publishes, trained on ImageNet
    },
    # The paper starts from weights trained on Kinetics: `pretrained` names a file of such.
    "ucf101-i3d": {
        "data": "ucf101", "backbone": "i3d_resnet50",
        "epochs": 100, "batch_size": 32, "milestones": (40, 80), **CROPS,
    },
    "mini": {
        "data": "folder", "backbone": "preresnet20", "epochs": 12, "batch_size": 64,
        "learning_rate": 0.1, "weight_decay": 5e-4, "nesterov": True,
        "schedule": "linear", "warmup": 2.0, "precision": "bfloat16", "channels_last": True,
        "augmentation": ("pad_crop(2)", "flip"),  # 12 epochs are too few for larger shifts
    },
}  # fmt: skip

for name, fields in FIELDS.items():
    RECIPES.register(name)(Recipe(**fields))
