"""Oracle for tiling and fusion: writes fusion.json and fusion.f32 beside itself.

Independent of the Rust code: volumes are really padded and cropped (numpy), the spline comes from scipy's triangular
window, the Gaussian is MONAI's compute_importance_map, starts are MONAI's dense_patch_slices, sums are f64 over full
3-D weights. The "network" is a nonlinear function of the two channels, of the place in the patch and of the
patch's mean, so that overlapping patches disagree and a shift by one voxel shows.

    pip install numpy scipy && python3 tests/golden/fusion.py

fusion.f32 holds, case after case: every STRIDE-th voxel (x fastest), then the mean of every x plane, every y plane
and every z plane, all little-endian float32.
"""

import itertools
import json
import math
import pathlib

import numpy as np
from scipy.signal.windows import triang

STRIDE = 29


def field(shape, channel):
    """Uniform [0, 1) noise by splitmix64, the same in any language; indexed [x, y, z]."""
    nx, ny, nz = shape
    with np.errstate(over="ignore"):
        i = np.arange(nx * ny * nz, dtype=np.uint64) + np.uint64(channel * 1_000_003 + 1)
        z = i * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = z ^ (z >> np.uint64(31))
    unit = (z >> np.uint64(40)).astype(np.float64) / (1 << 24)
    return unit.reshape((nz, ny, nx)).transpose(2, 1, 0)


def network(patch):
    """Probabilities of one patch [channel, x, y, z] in f64."""
    n = patch.shape[1]
    x, y, z = np.meshgrid(np.arange(n), np.arange(n), np.arange(n), indexing="ij")
    place = np.sin(0.9 * x + 0.2 * y) + np.cos(0.5 * z - 0.3 * y)
    logit = 3.0 * patch[0] - 1.5 * patch[1] * patch[0] + 0.8 * place - 2.0 * patch[0].mean() + 0.1
    return 1.0 / (1.0 + np.exp(-logit))


def window(kind, n):
    """The full 3-D weight, normalised or not: only ratios matter."""
    if kind == "uniform":
        return np.ones((n, n, n))
    if kind == "bspline":
        t = triang(n)
        inner = 1.0 - 2.0 * (t - 1.0) ** 2
        outer = 2.0 * t**2
        w = np.where(t < 0.5, outer, inner)
        w = w / w.mean()
        return w[:, None, None] * w[None, :, None] * w[None, None, :]
    x = np.arange(-(n - 1) / 2.0, (n - 1) / 2.0 + 1)
    g = np.exp(x**2 / (-2.0 * (0.125 * n) ** 2))
    product = g[:, None, None] * g[None, :, None] * g[None, None, :]
    return np.maximum(product, max(product.min(), 1e-3))


def starts(size, n, overlap):
    """MONAI: interval of int(n (1 - overlap)), every start moved back to fit."""
    interval = n if n == size else max(int(n * (1.0 - overlap) + 1e-9), 1)
    count = next(d for d in itertools.count(1) if (d - 1) * interval + n >= size)
    return [k * interval - max(k * interval + n - size, 0) for k in range(count)]


def flip(a, axes):
    """Reversal of spatial axes (the last three)."""
    return np.flip(a, axis=[a.ndim - 3 + axis for axis in axes])


def fuse(shape, n, overlap, kind, rotations):
    """Soft vote over the padded volume, cropped back."""
    volume = np.stack([field(shape, 0), field(shape, 1)])
    pad = [(max(n - s, 0) // 2, max(n - s, 0) - max(n - s, 0) // 2) for s in shape]
    padded = np.pad(volume, [(0, 0), *pad])
    votes = np.zeros(padded.shape[1:])
    weight = np.zeros(padded.shape[1:])
    w = window(kind, n)
    turns = [[], [1, 2], [0, 2], [0, 1]] if rotations else [[]]
    tiles = 0
    for corner in itertools.product(*(starts(s, n, overlap) for s in padded.shape[1:])):
        at = tuple(slice(c, c + n) for c in corner)
        for turn in turns:
            votes[at] += w * flip(network(flip(padded[(slice(None), *at)], turn)), turn)
            weight[at] += w
        tiles += 1
    assert (weight > 0).all()
    crop = tuple(slice(p[0], p[0] + s) for p, s in zip(pad, shape))
    return (votes / weight)[crop], tiles


def main():
    awkward, small = (37, 41, 45), (11, 41, 20)
    runs = [
        (shape, 16, overlap, kind, False)
        for shape in (awkward, small)
        for overlap in (0.0, 0.5, 0.75)
        for kind in ("bspline", "gaussian", "uniform")
    ]
    runs += [
        (awkward, 18, 0.5, "bspline", False),
        (awkward, 15, 0.6, "bspline", False),
        (small, 24, 0.3, "gaussian", False),
        ((7, 5, 9), 12, 0.75, "bspline", False),
        (awkward, 16, 0.5, "bspline", True),
        (small, 16, 0.75, "gaussian", True),
    ]
    cases, values = [], []
    for shape, n, overlap, kind, rotations in runs:
        fused, tiles = fuse(shape, n, overlap, kind, rotations)
        samples = fused.transpose(2, 1, 0).ravel()[::STRIDE]
        planes = [fused.mean(axis=axes) for axes in ((1, 2), (0, 2), (0, 1))]
        values += [samples, *planes]
        cases.append(
            dict(shape=shape, side=n, overlap=overlap, window=kind, rotations=rotations, tiles=tiles)
        )
        assert math.isfinite(fused.sum())
    here = pathlib.Path(__file__).parent
    text = ",\n".join("    " + json.dumps(case) for case in cases)
    (here / "fusion.json").write_text(f'{{\n  "stride": {STRIDE},\n  "cases": [\n{text}\n  ]\n}}\n')
    np.concatenate(values).astype("<f4").tofile(here / "fusion.f32")


main()
