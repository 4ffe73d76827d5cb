"""Backbones against plain functions of their weights and the counts of the literature."""

from __future__ import annotations

import copy

import numpy as np
import pytest
import torch
from support.train_networks import Layers, preresnet, published, randomized, resnet
from torch import distributed
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from gspnl.errors import InputError
from gspnl.train import backbones

# float64 through 20 to 83 layers; the outputs are of order 1 to 100.
CLOSE = {"rtol": 1e-9, "atol": 1e-9}
SMALL = {  # name: options, images, its function
    "preresnet20": ({"width": 3}, (2, 3, 8, 8), lambda x, g: preresnet(x, g, 3)),
    "preresnet56": ({"width": 2}, (2, 3, 8, 8), lambda x, g: preresnet(x, g, 9)),
    "preresnet56_basic": ({"width": 2}, (2, 3, 8, 8), lambda x, g: preresnet(x, g, 9)),
    "resnet50": ({"width": 2}, (2, 3, 16, 16), lambda x, g: resnet(x, g, stride=1, pool=False)),
    "resnet50 imagenet": ({"width": 2, "stem": "imagenet"}, (2, 3, 64, 48), resnet),
    "i3d_resnet50": (
        {"width": 2},
        (2, 3, 16, 32, 48),
        lambda x, g: resnet(x, g, stride=(1, 2, 2)),
    ),
}


def small(case, seed=0, **changes):
    options, shape, function = SMALL[case]
    torch.manual_seed(seed)
    net = backbones.create(case.split()[0], classes=5, **options | changes)
    return net, torch.randn(shape, dtype=torch.float64), function


def count(net):
    return sum(p.numel() for p in net.parameters())


def meta(name, **options):
    with torch.device("meta"):
        return backbones.create(name, **options)


@pytest.mark.parametrize("training", [False, True], ids=["evaluation", "training"])
@pytest.mark.parametrize("case", SMALL)
def test_networks_agree_with_plain_functions_of_their_weights(case, training):
    net, x, function = small(case)
    net = randomized(net).train(training)
    state = copy.deepcopy(net.state_dict())
    torch.testing.assert_close(net(x), function(x, Layers(state, training)), **CLOSE)


def test_every_backbone_has_a_plain_function():
    assert {case.split()[0] for case in SMALL} == set(backbones.BACKBONES)


def conv_and_norm(inputs, outputs, area):
    return inputs * outputs * area + 2 * outputs


def of_preresnet(blocks, bottleneck, width=16, classes=10):
    """Count convolutions, two numbers a channel of each norm, and the last layer."""
    total, inputs, expansion = 3 * width * 9, width, 4 if bottleneck else 1
    for stage in range(3):
        w = width * 2**stage
        for block in range(blocks):
            plan = [(w, 1), (w, 9), (4 * w, 1)] if bottleneck else [(w, 9), (w, 9)]
            if block == 0 and (stage or bottleneck):
                total += inputs * expansion * w
            for outputs, area in plan:
                total += 2 * inputs + inputs * outputs * area
                inputs = outputs
    return total + 2 * inputs + (inputs + 1) * classes


@pytest.mark.parametrize(
    ("name", "blocks", "bottleneck", "millions"),
    [
        ("preresnet20", 3, False, 0.27),  # He et al. 2016a, table 6
        ("preresnet56_basic", 9, False, 0.85),  # the same
        ("preresnet56", 9, True, None),
    ],
)
def test_parameter_counts_of_preresnets(name, blocks, bottleneck, millions):
    net = meta(name, classes=10)
    assert count(net) == of_preresnet(blocks, bottleneck)
    if millions:  # published for shortcuts without parameters, hence half a unit of the last place
        assert abs(count(net) / 1e6 - millions) < 0.006


def test_parameter_counts_of_resnets():
    assert count(meta("resnet50", classes=1000, stem="imagenet")) == 25_557_032  # torchvision's
    assert count(meta("resnet50", classes=10)) == 23_520_842  # with the stem of 3×3
    shapes = published(400, (7, 7, 7), dimensions=3)
    expected = sum(
        int(np.prod(shape)) for name, shape in shapes.items() if "running" not in name
    ) - sum(name.endswith("tracked") for name in shapes)
    assert count(meta("i3d_resnet50", classes=400)) == expected


@pytest.mark.parametrize(
    ("name", "options", "layout"),
    [
        ("resnet50", {"stem": "imagenet", "classes": 1000}, {}),
        ("resnet50", {"classes": 10}, {"kernels": (3, 3)}),
        ("resnet50", {"classes": 7, "channels": 1}, {"kernels": (3, 3), "channels": 1}),
        ("i3d_resnet50", {"classes": 400}, {"kernels": (7, 7, 7), "dimensions": 3}),
    ],
)
def test_parameter_names_and_shapes_are_the_published_ones(name, options, layout):
    state = meta(name, **options).state_dict()
    expected = published(options["classes"], **layout)
    assert {key: tuple(value.shape) for key, value in state.items()} == expected
    assert list(state) == list(expected)  # and in the order of the file


@pytest.mark.parametrize(
    ("name", "options", "image", "shapes"),
    [
        ("preresnet20", {}, (32, 32), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("preresnet56", {}, (32, 32), [(64, 32, 32), (128, 16, 16), (256, 8, 8)]),
        ("preresnet56_basic", {}, (32, 32), [(16, 32, 32), (32, 16, 16), (64, 8, 8)]),
        ("resnet50", {}, (32, 32), [(256, 32, 32), (512, 16, 16), (1024, 8, 8), (2048, 4, 4)]),
        (
            "resnet50",
            {"stem": "imagenet"},
            (224, 224),
            [(256, 56, 56), (512, 28, 28), (1024, 14, 14), (2048, 7, 7)],
        ),
        (
            "i3d_resnet50",
            {},
            (16, 112, 112),
            [(256, 8, 28, 28), (512, 4, 14, 14), (1024, 2, 7, 7), (2048, 1, 4, 4)],
        ),
    ],
)
def test_feature_maps_have_the_published_sizes(name, options, image, shapes):
    net = meta(name, classes=10, **options)
    seen = []
    for stage in range(1, len(shapes) + 1):
        layer = net.get_submodule(f"layer{stage}")
        layer.register_forward_hook(lambda m, args, out: seen.append(tuple(out.shape[1:])))
    assert net(torch.zeros(2, 3, *image, device="meta")).shape == (2, 10)
    assert seen == shapes


def test_convolutions_are_initialised_by_he_s_rule():
    torch.manual_seed(0)
    net = backbones.create("preresnet20", classes=10)
    for name, value in net.named_parameters():
        if value.ndim == 4:
            fan = value.shape[0] * value.shape[2] * value.shape[3]
            measured = value.std() / (2 / fan) ** 0.5
            # n draws measure a deviation to 1/√(2n) of itself; four of these
            assert abs(measured - 1) < 4 / (2 * value.numel()) ** 0.5, name
        elif "bn" in name:
            assert bool((value == float(name.endswith("weight"))).all())


@pytest.mark.parametrize("case", SMALL)
def test_the_seed_decides_the_weights(case):
    first, again, other = (small(case, seed)[0].state_dict() for seed in (1, 1, 2))
    assert all(torch.equal(first[key], again[key]) for key in first)
    assert not torch.equal(first["conv1.weight"], other["conv1.weight"])


@pytest.mark.parametrize("case", SMALL)
def test_channels_last_gives_the_same_scores(case):
    net, x, _ = small(case)
    backbones.place(net, "snl")
    net = randomized(net).eval()
    truth = net(x)
    layout = torch.channels_last if x.ndim == 4 else torch.channels_last_3d
    torch.testing.assert_close(
        net.to(memory_format=layout)(x.to(memory_format=layout)), truth, **CLOSE
    )


@pytest.mark.parametrize("case", [case for case in SMALL if "i3d" not in case])
def test_channels_last_is_kept_through_the_network(case):
    """Blocks included; in three dimensions torch's own layers do not keep it."""
    net, x, _ = small(case, width=8)
    net = backbones.place(net, "snl", "stage2").to(memory_format=torch.channels_last)
    maps = []
    for name in ("conv1", "layer1.0", "layer2.1", "layer3.0"):
        net.get_submodule(name).register_forward_hook(lambda m, args, out: maps.append(out))
    net(x.float().to(memory_format=torch.channels_last))
    assert len(maps) == 4
    assert all(out.is_contiguous(memory_format=torch.channels_last) for out in maps)


@pytest.mark.parametrize("case", SMALL)
def test_training_lowers_the_loss_and_every_parameter_has_a_gradient(case):
    net, x, _ = small(case)
    net, labels = net.double(), torch.tensor([1, 3])
    optimizer = torch.optim.SGD(net.parameters(), lr=0.01)
    losses = []
    for _ in range(6):
        optimizer.zero_grad()
        loss = F.cross_entropy(net(x), labels)
        loss.backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in net.parameters())
        optimizer.step()
        losses.append(float(loss.detach()))
    assert losses[-1] < losses[0]


def test_distributed_data_parallel_takes_two_steps():
    """DistributedDataParallel refuses a second step where a parameter had no gradient."""
    net, x, _ = small("preresnet20")
    backbones.place(net, "snl", "dp3")
    distributed.init_process_group("gloo", store=distributed.HashStore(), rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(net.double())
        for _ in range(2):
            wrapped(x).sum().backward()
    finally:
        distributed.destroy_process_group()


def test_bfloat16_and_one_image_in_evaluation():
    net, x, _ = small("preresnet20")
    y = net.to(torch.bfloat16).eval()(x[:1].to(torch.bfloat16))
    assert y.shape == (1, 5)
    assert y.dtype == torch.bfloat16


@pytest.mark.parametrize(
    ("name", "options", "said"),
    [
        ("preresnet2", {}, "did you mean 'preresnet20'"),
        ("vgg", {}, "Available: i3d_resnet50, preresnet20"),
        (None, {}, "unknown backbone"),
        ("preresnet20", {"classes": 0}, "classes=0 must be a whole number"),
        ("preresnet20", {"classes": -3}, "classes=-3 must be a whole number"),
        ("preresnet20", {"classes": 2.5}, "classes=2.5 must be a whole number"),
        ("preresnet20", {"classes": True}, "classes=True must be a whole number"),
        ("resnet50", {"channels": 0}, "channels=0 must be a whole number"),
        ("resnet50", {"width": "16"}, "width='16' must be a whole number"),
        ("resnet50", {"stem": "imagnet"}, "must be one of 'cifar', 'imagenet'"),
        ("preresnet20", {"stem": "cifar"}, "no option 'stem'; it takes classes, channels, width"),
        ("preresnet20", {"residual": None}, "no option 'residual'"),
        ("i3d_resnet50", {"stem": "imagenet"}, "no option 'stem'"),
    ],
)
def test_wrong_names_and_options_are_refused(name, options, said):
    with pytest.raises(InputError) as error:
        backbones.create(name, **{"classes": 10, **options})
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("case", "x", "said"),
    [
        ("preresnet20", torch.zeros(2, 1, 8, 8), "(batch, 3, height, width)"),
        ("preresnet20", torch.zeros(3, 8, 8), "shape (3, 8, 8)"),
        ("preresnet20", torch.zeros(2, 3, 0, 8), "shape (2, 3, 0, 8)"),
        ("preresnet20", torch.zeros(2, 3, 8, 8, dtype=torch.uint8), "images.float() / 255"),
        ("preresnet20", np.zeros((2, 3, 8, 8)), "not ndarray"),
        ("i3d_resnet50", torch.zeros(2, 3, 8, 8), "(batch, 3, time, height, width)"),
    ],
)
def test_wrong_images_are_refused(case, x, said):
    with pytest.raises(InputError) as error:
        small(case)[0](x)
    assert said in str(error.value)
