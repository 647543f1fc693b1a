"""Public generators as plain functions of their state dicts. Imported weights are compared with them.

They are written from the layers of the public codes, without any network of ours. `shapes` are those of the state dict.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

State = dict[str, Tensor]
Shapes = dict[str, tuple[int, ...]]


def random_state(shapes: Shapes, seed: int = 0) -> State:
    """Random weights, of a size at which the outputs of the layers differ from zero and from each other."""
    draw = torch.Generator().manual_seed(seed)
    state = {}
    for key, shape in shapes.items():
        if key.endswith("num_batches_tracked"):
            state[key] = torch.tensor(7)
        elif key.endswith("running_var"):
            state[key] = 0.5 + torch.rand(shape, generator=draw)
        elif len(shape) == 4:
            fan = shape[1] * shape[2] * shape[3]
            state[key] = torch.randn(shape, generator=draw) * (2 / fan) ** 0.5
        elif key.endswith("weight"):
            state[key] = 1 + 0.2 * torch.randn(shape, generator=draw)
        else:
            state[key] = 0.2 * torch.randn(shape, generator=draw)
    return state


def _conv_shapes(name: str, *weight: int, bias: bool = True, transposed: bool = False) -> Shapes:
    out = weight[1] if transposed else weight[0]
    return {f"{name}.weight": weight, **({f"{name}.bias": (out,)} if bias else {})}


def _norm_shapes(name: str, width: int) -> Shapes:
    names = ("weight", "bias", "running_mean", "running_var")
    return {**{f"{name}.{each}": (width,) for each in names}, f"{name}.num_batches_tracked": ()}


def _conv(state: State, name: str, x: Tensor, stride: int = 1, padding: int = 0, dilation: int = 1) -> Tensor:
    return F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding, dilation)


def _up(state: State, name: str, x: Tensor, stride: int = 2, padding: int = 1, output_padding: int = 0) -> Tensor:
    return F.conv_transpose2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding, output_padding)


def _batch_norm(state: State, name: str, x: Tensor) -> Tensor:
    mean, var, weight, bias = (state[f"{name}.{each}"] for each in ("running_mean", "running_var", "weight", "bias"))
    return F.batch_norm(x, mean, var, weight, bias, training=False)


# junyanz/pytorch-CycleGAN-and-pix2pix: unet_256 and its like.


def unet_shapes(inputs: int, outputs: int, width: int, depth: int) -> Shapes:
    widths = [width * min(2**level, 8) for level in range(depth)]
    shapes = _conv_shapes("model.model.0", width, inputs, 4, 4, bias=False)
    for level in range(1, depth):
        name, outer, inner = "model.model.1" + ".model.3" * (level - 1), widths[level - 1], widths[level]
        shapes |= _conv_shapes(f"{name}.model.1", inner, outer, 4, 4, bias=False)
        if level == depth - 1:
            shapes |= _conv_shapes(f"{name}.model.3", inner, outer, 4, 4, bias=False)
            shapes |= _norm_shapes(f"{name}.model.4", outer)
        else:
            shapes |= _norm_shapes(f"{name}.model.2", inner)
            shapes |= _conv_shapes(f"{name}.model.5", 2 * inner, outer, 4, 4, bias=False)
            shapes |= _norm_shapes(f"{name}.model.6", outer)
    return shapes | _conv_shapes("model.model.3", 2 * width, outputs, 4, 4, transposed=True)


def unet(state: State, x: Tensor, depth: int) -> Tensor:
    def level(number: int, x: Tensor) -> Tensor:
        name = "model.model.1" + ".model.3" * (number - 1)
        x = F.leaky_relu(x, 0.2)  # in place in the public code, so the skip carries it too
        inner = _conv(state, f"{name}.model.1", x, 2, 1)
        if number == depth - 1:
            out = _batch_norm(state, f"{name}.model.4", _up(state, f"{name}.model.3", F.relu(inner)))
        else:
            inner = level(number + 1, _batch_norm(state, f"{name}.model.2", inner))
            out = _batch_norm(state, f"{name}.model.6", _up(state, f"{name}.model.5", F.relu(inner)))
        return torch.cat([x, out], 1)

    x = level(1, _conv(state, "model.model.0", x, 2, 1))
    return torch.tanh(_up(state, "model.model.3", F.relu(x)))


# junyanz's ResNet generator (2 halvings) and NVIDIA/pix2pixHD's GlobalGenerator (4): one list of layers, InstanceNorm.


def resnet_shapes(inputs: int, outputs: int, width: int, halvings: int, blocks: int) -> Shapes:
    shapes, index = _conv_shapes("model.1", width, inputs, 7, 7), 4
    for level in range(halvings):
        shapes |= _conv_shapes(f"model.{index}", width * 2 ** (level + 1), width * 2**level, 3, 3)
        index += 3
    for _ in range(blocks):
        shapes |= _block_shapes(f"model.{index}", width * 2**halvings)
        index += 1
    for level in reversed(range(halvings)):
        name = f"model.{index}"
        shapes |= _conv_shapes(name, width * 2 ** (level + 1), width * 2**level, 3, 3, transposed=True)
        index += 3
    return shapes | _conv_shapes(f"model.{index + 1}", outputs, width, 7, 7)


def resnet(state: State, x: Tensor, halvings: int, blocks: int) -> Tensor:
    last = 4 + 6 * halvings + blocks + 1
    return torch.tanh(_conv(state, f"model.{last}", _reflect(resnet_features(state, x, halvings, blocks), 3)))


def resnet_features(state: State, x: Tensor, halvings: int, blocks: int) -> Tensor:
    """The generator without its last convolution."""
    x, index = _normed(_conv(state, "model.1", _reflect(x, 3))), 4
    for _ in range(halvings):
        x, index = _normed(_conv(state, f"model.{index}", x, 2, 1)), index + 3
    for _ in range(blocks):
        x, index = _block(state, f"model.{index}", x), index + 1
    for _ in range(halvings):
        x, index = _normed(_up(state, f"model.{index}", x, output_padding=1)), index + 3
    return x


def _block_shapes(name: str, width: int) -> Shapes:
    first, second = (_conv_shapes(f"{name}.conv_block.{index}", width, width, 3, 3) for index in (1, 5))
    return first | second


def _block(state: State, name: str, x: Tensor) -> Tensor:
    inner = _normed(_conv(state, f"{name}.conv_block.1", _reflect(x, 1)))
    return x + F.instance_norm(_conv(state, f"{name}.conv_block.5", _reflect(inner, 1)))


def _normed(x: Tensor) -> Tensor:
    return F.relu(F.instance_norm(x))


def _reflect(x: Tensor, pixels: int) -> Tensor:
    return F.pad(x, (pixels,) * 4, mode="reflect")


# NVIDIA/pix2pixHD's LocalEnhancer, around a GlobalGenerator of twice the width without its last convolution.


def enhancer_shapes(inputs: int, outputs: int, width: int, blocks: int, local_blocks: int) -> Shapes:
    shapes = resnet_shapes(inputs, outputs, 2 * width, 4, blocks)
    shapes = {key: shape for key, shape in shapes.items() if not key.startswith(f"model.{29 + blocks}.")}
    shapes |= _conv_shapes("model1_1.1", width, inputs, 7, 7) | _conv_shapes("model1_1.4", 2 * width, width, 3, 3)
    for index in range(local_blocks):
        shapes |= _block_shapes(f"model1_2.{index}", 2 * width)
    shapes |= _conv_shapes(f"model1_2.{local_blocks}", 2 * width, width, 3, 3, transposed=True)
    return shapes | _conv_shapes(f"model1_2.{local_blocks + 4}", outputs, width, 7, 7)


def enhancer(state: State, x: Tensor, blocks: int, local_blocks: int) -> Tensor:
    half = F.avg_pool2d(x, 3, 2, 1, count_include_pad=False)
    x = _normed(_conv(state, "model1_1.1", _reflect(x, 3)))
    x = _normed(_conv(state, "model1_1.4", x, 2, 1)) + resnet_features(state, half, 4, blocks)
    for index in range(local_blocks):
        x = _block(state, f"model1_2.{index}", x)
    x = _normed(_up(state, f"model1_2.{local_blocks}", x, output_padding=1))
    return torch.tanh(_conv(state, f"model1_2.{local_blocks + 4}", _reflect(x, 3)))


# richzhang/colorization: ECCV16.


def eccv16_shapes(width: int, bins: int) -> Shapes:
    shapes: Shapes = {}
    inner = 1
    for block, factor in enumerate((1, 2, 4, 8, 8, 8, 8), start=1):
        count = 2 if block <= 2 else 3
        for index in range(count):
            shapes |= _conv_shapes(f"model{block}.{2 * index}", factor * width, inner, 3, 3)
            inner = factor * width
        shapes |= _norm_shapes(f"model{block}.{2 * count}", inner)
    shapes |= _conv_shapes("model8.0", 8 * width, 4 * width, 4, 4, transposed=True)
    shapes |= _conv_shapes("model8.2", 4 * width, 4 * width, 3, 3) | _conv_shapes(
        "model8.4", 4 * width, 4 * width, 3, 3
    )
    return shapes | _conv_shapes("model8.6", bins, 4 * width, 1, 1) | {"model_out.weight": (2, bins, 1, 1)}


def eccv16(state: State, lightness: Tensor) -> Tensor:
    """L (N, 1, H, W) in [0, 100] -> ab (N, 2, H, W)."""
    x = (lightness - 50) / 100
    for block in range(1, 8):
        count = 2 if block <= 2 else 3
        dilation = 2 if block in (5, 6) else 1
        for index in range(count):
            stride = 2 if block <= 3 and index == count - 1 else 1
            x = F.relu(_conv(state, f"model{block}.{2 * index}", x, stride, dilation, dilation))
        x = _batch_norm(state, f"model{block}.{2 * count}", x)
    x = F.relu(_up(state, "model8.0", x))
    x = F.relu(_conv(state, "model8.2", x, 1, 1))
    x = F.relu(_conv(state, "model8.4", x, 1, 1))
    x = _conv(state, "model_out", _conv(state, "model8.6", x).softmax(1))
    return 110 * F.interpolate(x, scale_factor=4, mode="bilinear", align_corners=False)


# The notebook of functorial/BerserkMangaColoring: CycleGenerator.


def berserk_shapes(width: int, blocks: int) -> Shapes:
    c = width
    convs = {"cv1": (c, 3, 7, 7), "cv2": (2 * c, c, 3, 3), "cv3": (4 * c, 2 * c, 3, 3)}
    convs |= {f"res.{index}.cv": (4 * c, 4 * c, 3, 3) for index in range(blocks)}
    shapes: Shapes = {}
    for name, weight in convs.items():
        shapes |= _conv_shapes(f"{name}.0", *weight, bias=False) | _norm_shapes(f"{name}.1", weight[0])
    for name, weight in {"dcv3": (4 * c, 2 * c, 3, 3), "dcv4": (2 * c, c, 3, 3)}.items():
        shapes |= _conv_shapes(f"{name}.0", *weight, bias=False) | _norm_shapes(f"{name}.1", weight[1])
    return shapes | _conv_shapes("dcv5.0", c, 3, 7, 7, bias=False)


def berserk(state: State, x: Tensor, blocks: int) -> Tensor:
    def tied(name: str, x: Tensor) -> Tensor:
        return _batch_norm(state, f"{name}.1", _conv(state, f"{name}.0", x, 1, 1))

    for name, stride in (("cv1", 1), ("cv2", 2), ("cv3", 2)):
        x = F.leaky_relu(_batch_norm(state, f"{name}.1", _conv(state, f"{name}.0", x, stride, 1)), 0.2)
    skip = x
    for index in range(blocks):
        name = f"res.{index}.cv"
        x = x + tied(name, F.leaky_relu(tied(name, x), 0.2))
    x = x + skip
    for name in ("dcv3", "dcv4"):
        x = F.leaky_relu(_batch_norm(state, f"{name}.1", _up(state, f"{name}.0", x)), 0.2)
        x = F.pad(x, (0, 1, 0, 1))
    return torch.tanh(_up(state, "dcv5.0", x, stride=1))
