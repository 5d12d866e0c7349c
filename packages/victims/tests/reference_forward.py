"""Forwards written a second time, one sample at a time, that really leave out what is not executed.

They share nothing with the package but the weights, read by their published names.
"""

import itertools

import torch
import torch.nn.functional as F


def skipnet(w, image, blocks):
    """Logits (K,) of one image (3, H, W), and the list of decisions, from a SkipNet's weights."""
    x = stem(w, image)
    names = [f"group{group}_{{}}{index}" for group in (1, 2, 3) for index in range(blocks)]
    hidden = cell = image.new_zeros(10)
    x, decisions = residual_block(w, names[0].format("layer"), x), []
    for before, name in itertools.pairwise(names):
        gate = before.format("gate")
        embedding = w[f"{gate}.1.weight"].flatten(1) @ x.mean((0, 2, 3)) + w[f"{gate}.1.bias"]
        pre = w["control.rnn.weight_ih_l0"] @ embedding + w["control.rnn.bias_ih_l0"]
        pre = pre + w["control.rnn.weight_hh_l0"] @ hidden + w["control.rnn.bias_hh_l0"]
        enter, forget, value, leave = pre.chunk(4)
        cell = forget.sigmoid() * cell + enter.sigmoid() * value.tanh()
        hidden = leave.sigmoid() * cell.tanh()
        score = (w["control.proj.weight"] @ hidden + w["control.proj.bias"]).item()
        decisions.append(score > 0)
        layer = name.format("layer")
        if score > 0:
            x = residual_block(w, layer, x)
        elif f"{layer}.downsample.0.weight" in w:
            x = _project(w, f"{layer}.downsample", x)
    return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], decisions


def dynconv(w, image, blocks):
    """Logits (K,) of one image (3, H, W), and the list of masks, from a DynConv's state dict.

    The residual branch is computed at active positions alone; what it may not need is NaN.
    """
    x = stem(w, image)
    masks = []
    for stage in (1, 2, 3):
        for index in range(blocks):
            name, stride = f"layer{stage}.{index}", 2 if stage > 1 and index == 0 else 1
            unit = f"{name}.masker.maskconv"
            score = F.conv2d(x, w[f"{unit}.conv.weight"], w[f"{unit}.conv.bias"], stride, 1)[0, 0]
            score = score + w[f"{unit}.fc.weight"][0] @ x.mean((0, 2, 3)) + w[f"{unit}.fc.bias"]
            mask = score >= 0
            masks.append(mask)
            shortcut = _project(w, f"{name}.downsample", x) if stride > 1 else x
            x = _sparse_residual(w, name, x, mask, shortcut, stride).relu()
    return w["fc.weight"] @ x.mean((0, 2, 3)) + w["fc.bias"], masks


def stem(w, image):
    """What the first block gets for one image (3, H, W). Shape: (1, 16, H, W)."""
    return _bn(w, "bn1", F.conv2d(_normalize(image)[None], w["conv1.weight"], padding=1)).relu()


def residual_block(w, name, x):
    """A complete residual block; without a projection in the weights its shortcut is option A."""
    outer, inner = w[f"{name}.conv1.weight"].shape[:2]
    shortcut, stride = x, 2 if inner != outer else 1
    if f"{name}.downsample.0.weight" in w:
        shortcut = _project(w, f"{name}.downsample", x)
    elif stride == 2:
        shortcut = x.new_zeros(1, outer, x.shape[2] // 2, x.shape[3] // 2)
        shortcut[:, (outer - inner) // 2 : (outer + inner) // 2] = x[:, :, ::2, ::2]
    out = F.conv2d(x, w[f"{name}.conv1.weight"], stride=stride, padding=1)
    out = F.conv2d(_bn(w, f"{name}.bn1", out).relu(), w[f"{name}.conv2.weight"], padding=1)
    return (_bn(w, f"{name}.bn2", out) + shortcut).relu()


def neighbours(mask):
    """Every position within one step of an active one, by plain loops."""
    height, width = mask.shape
    near = torch.zeros_like(mask)
    for r, c in mask.nonzero().tolist():
        near[max(r - 1, 0) : min(r + 2, height), max(c - 1, 0) : min(c + 2, width)] = True
    return near


def _sparse_residual(w, name, x, mask, shortcut, stride):
    active, needed = mask.flatten().nonzero()[:, 0], neighbours(mask).flatten().nonzero()[:, 0]
    if not len(active):
        return shortcut
    patches = F.unfold(x, 3, padding=1, stride=stride)[0][:, needed]
    hidden = _bn(w, f"{name}.bn1", (w[f"{name}.conv1.weight"].flatten(1) @ patches)[None]).relu()
    channels = hidden.shape[1]
    grid = torch.full((channels, mask.numel()), torch.nan, dtype=x.dtype)
    grid = grid.index_copy(1, needed, hidden[0]).view(1, channels, *mask.shape)
    patches = F.unfold(grid, 3, padding=1)[0][:, active]
    out = _bn(w, f"{name}.bn2", (w[f"{name}.conv2.weight"].flatten(1) @ patches)[None])
    return shortcut.flatten(2).index_add(2, active, out).view_as(shortcut)


def _normalize(image):
    mean, std = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    # In float32 first, as the constants are stored
    mean, std = (torch.tensor(v)[:, None, None].to(image.dtype) for v in (mean, std))
    return (image - mean) / std


def _bn(w, name, x):
    statistics = w[f"{name}.running_mean"], w[f"{name}.running_var"]
    return F.batch_norm(x, *statistics, w[f"{name}.weight"], w[f"{name}.bias"])


def _project(w, name, x):
    return _bn(w, f"{name}.1", F.conv2d(x, w[f"{name}.0.weight"], stride=2))
