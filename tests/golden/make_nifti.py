"""Makes tests/golden/nifti/: small NIfTI files and what nibabel and scipy say about them.

    python3 -m pip install numpy==2.* nibabel==5.* scipy==1.*
    python3 tests/golden/make_nifti.py

Everything is seeded; running it again changes nothing.
"""

import gzip
import io
import json
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError
from scipy import ndimage

OUT = Path(__file__).parent / "nifti"
SHAPE = (5, 4, 3)
rng = np.random.default_rng(20261123)


def rotation(x, y, z):
    """Rotation by Euler angles in degrees about x, then y, then z."""
    return nib.eulerangles.euler2mat(*np.radians([z, y, x]))


def affine_of(linear, origin):
    affine = np.eye(4)
    affine[:3, :3] = linear
    affine[:3, 3] = origin
    return affine


STRAIGHT = affine_of(np.diag([-1.0, 1.5, 2.25]), [10.25, -20.5, 3.0])
OBLIQUE = affine_of(rotation(12, -23, 7) @ np.diag([0.7, 0.72, 4.0]), [-61.3, 40.2, 17.9])
FLIPPED = affine_of(rotation(-8, 5, 31) @ np.diag([1.1, 0.9, -3.3]), [5.5, -6.25, 99.0])
PERMUTED = affine_of([[0, 0, 1.2], [-0.9, 0, 0], [0, 1.05, 0]], [1, 2, 3])
SHEARED = affine_of(np.array([[1.0, 0.1, 0.05], [0, 1.2, -0.2], [0.02, 0, 2.0]]), [7, 8, 9])


def stored(dtype):
    """Random numbers over the whole range of a type, its extremes included."""
    dtype = np.dtype(dtype)
    if dtype.kind == "f":
        values = rng.normal(0, 1000, SHAPE)
        values[0, 0, 0], values[1, 0, 0] = 1e-30, -1e30
        return values.astype(dtype)
    info = np.iinfo(dtype)
    values = rng.integers(info.min, info.max, SHAPE, dtype=dtype, endpoint=True)
    values[0, 0, 0], values[1, 0, 0] = info.min, info.max
    return values


def image(data, affine=STRAIGHT, version=1, order="<", qform=None, sform=2, slope=None, inter=None):
    """Bytes of a file. `qform` and `sform` are codes (None leaves the form out)."""
    kind = nib.Nifti1Image if version == 1 else nib.Nifti2Image
    header = kind.header_class(endianness=order)
    header.set_data_dtype(np.dtype(data.dtype).newbyteorder(order))
    header.set_data_shape(data.shape)
    header.set_xyzt_units("mm", "sec")
    out = kind(data, None, header)
    out.header.set_zooms(tuple(np.linalg.norm(affine[:3, :3], axis=0)) + (1.0,) * (data.ndim - 3))
    out.set_qform(affine if qform else None, qform or 0, update_affine=False)
    out.set_sform(affine if sform else None, sform or 0, update_affine=False)
    out.header.set_zooms(tuple(np.linalg.norm(affine[:3, :3], axis=0)) + (1.0,) * (data.ndim - 3))
    out.header.set_slope_inter(1, 0)
    raw = bytearray(out.to_bytes())
    # nibabel rescales data to fit a slope that it is given; the tests want given numbers and a given slope.
    if slope is not None:
        at, kind = (112, "f") if version == 1 else (176, "d")
        struct.pack_into(f"{order}{kind}", raw, at, slope)
        struct.pack_into(f"{order}{kind}", raw, at + struct.calcsize(kind), inter or 0.0)
    return bytes(raw)


def gz(raw):
    return gzip.compress(raw, 9, mtime=0)


files = {}
TYPES = ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"]
for code in TYPES:
    data = stored(code)
    files[f"{data.dtype}_le.nii"] = image(data, order="<")
    files[f"{data.dtype}_be.nii"] = image(data, order=">")
for code, order in [("i2", "<"), ("f8", ">"), ("u1", ">"), ("f4", "<")]:
    data = stored(code)
    ends = "le" if order == "<" else "be"
    files[f"nifti2_{data.dtype}_{ends}.nii"] = image(data, OBLIQUE, version=2, order=order, qform=1, sform=3)

small = rng.integers(0, 1000, SHAPE, dtype=np.int16)
files["slope.nii"] = image(small, slope=0.37, inter=-12.5)
files["slope_be.nii.gz"] = gz(image(small, order=">", slope=-2.0, inter=100.0))
files["slope_nifti2.nii"] = image(small, version=2, slope=1.0 / 3.0, inter=1e-3)
files["slope_zero.nii"] = image(small, slope=0.0, inter=7.0)
files["slope_nan.nii"] = image(small, slope=float("nan"), inter=7.0)

files["qform_straight.nii"] = image(small, STRAIGHT, qform=1, sform=None)
files["qform_oblique.nii.gz"] = gz(image(small, OBLIQUE, qform=1, sform=None))
files["qform_flipped.nii"] = image(small, FLIPPED, qform=3, sform=None)
files["qform_permuted_be.nii"] = image(small, PERMUTED, qform=2, sform=None, order=">")
files["qform_nifti2.nii"] = image(small, FLIPPED, qform=1, sform=None, version=2)
files["sform_oblique.nii"] = image(small, OBLIQUE, sform=1)
files["sform_sheared.nii.gz"] = gz(image(small, SHEARED, sform=4))
files["sform_permuted.nii"] = image(small, PERMUTED, sform=2)
files["neither.nii"] = image(small, OBLIQUE, qform=None, sform=None)

both = nib.Nifti1Image(small, None)
both.set_qform(OBLIQUE, 1, update_affine=False)
both.set_sform(FLIPPED, 2, update_affine=False)
files["both_differ.nii"] = both.to_bytes()

files["four_dimensions_of_one.nii"] = image(small[..., None], OBLIQUE, qform=1)
files["six_dimensions_of_one.nii"] = image(small[..., None, None, None], OBLIQUE, qform=1)

extended = nib.Nifti1Image(small, OBLIQUE)
extended.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"forty-two bytes of no interest to anybody"))
files["extension.nii.gz"] = gz(extended.to_bytes())
plain = image(small, OBLIQUE)
files["two_members.nii.gz"] = gz(plain[:200]) + gz(plain[200:])
files["not_finite.nii"] = image(
    np.where(np.arange(60).reshape(SHAPE) % 20 == 7, np.nan, small).astype("f4")
    + np.where(np.arange(60).reshape(SHAPE) == 11, np.inf, 0).astype("f4")
)

OUT.mkdir(exist_ok=True)
for old in OUT.iterdir():
    old.unlink()

expected = {}
for name, raw in files.items():
    (OUT / name).write_bytes(raw)
    plain = gzip.decompress(raw) if name.endswith(".gz") else raw
    kind = nib.Nifti2Image if plain[4:7] == b"n+2" else nib.Nifti1Image
    loaded = kind.from_bytes(plain)
    with np.errstate(invalid="ignore", over="ignore"):
        values = loaded.get_fdata(dtype=np.float64).astype(np.float32).ravel(order="F").astype(float)
    expected[name] = {
        "shape": list(loaded.shape[:3]),
        "affine": loaded.affine.tolist(),
        "orientation": "".join(nib.aff2axcodes(loaded.affine)),
        "datatype": loaded.get_data_dtype().newbyteorder("=").name,
        "not_finite": int((~np.isfinite(values)).sum()),
        "values": np.where(np.isfinite(values), values, 0).tolist(),
    }

# Orientation codes of affines in any position. Those that are ambiguous (close to 45 degrees) are left out: tools
# differ there.
orientations = []
while len(orientations) < 100:
    turn = np.linalg.qr(rng.normal(size=(3, 3)))[0]
    best = np.sort(np.abs(turn), axis=0)
    if (best[2] - best[1] < 0.2).any():
        continue
    affine = affine_of(turn @ np.diag(rng.uniform(0.3, 5, 3)), rng.normal(0, 50, 3))
    orientations.append({"affine": affine.tolist(), "code": "".join(nib.aff2axcodes(affine))})


def positions(target_shape, target_affine, source_affine):
    index = np.indices(target_shape).reshape(3, -1)
    map_ = np.linalg.inv(source_affine) @ target_affine
    return map_[:3, :3] @ index + map_[:3, 3:]


def outside(at, shape):
    return ((at < -0.5) | (at > np.array(shape)[:, None] - 0.5)).any(axis=0)


def resample(source, affine, shape, target, order, fill):
    """scipy's interpolation, the outermost voxels going on for half a voxel, `fill` beyond."""
    at = positions(shape, target, affine)
    values = ndimage.map_coordinates(source.astype(float), at, order=order, mode="nearest", prefilter=False)
    return np.where(outside(at, source.shape), fill, values).reshape(shape)


resampling = []
source = rng.normal(100, 30, (7, 6, 5)).astype(np.float32)
source_affine = affine_of(rotation(3, -5, 9) @ np.diag([1.3, 0.8, 2.1]), [-4, 2, 1])
centre = source_affine @ [3, 2.5, 2, 1]
for shape, turn, zooms, shift in [
    ((9, 5, 11), (20, 10, -30), (0.7, 0.6, 0.9), (0, 0, 0)),
    ((4, 13, 3), (90, 3, 180), (0.5, 0.4, 0.8), (1.5, 0, -1)),
    ((6, 6, 6), (-45, 45, 10), (0.7, 0.7, 0.7), (1, -1, 1)),
    ((1, 8, 2), (5, 5, 5), (0.75, 0.3, 0.6), (0, 0.4, 0)),
]:
    linear = rotation(*turn) @ np.diag(zooms)
    target = affine_of(linear, centre[:3] + shift - linear @ ((np.array(shape) - 1) / 2))
    map_ = np.linalg.inv(source_affine) @ target
    # None of these makes voxels larger along any axis of the source, so that nothing is smoothed.
    assert (np.linalg.norm(map_[:3, :3], axis=1) <= 1).all()
    resampling.append(
        {
            "shape": shape,
            "affine": target.tolist(),
            "linear": resample(source, source_affine, shape, target, 1, -7.0).ravel(order="F").tolist(),
            "nearest": resample(source, source_affine, shape, target, 0, -7.0).ravel(order="F").tolist(),
        }
    )

# Coarser and turned: Gaussian of the variance that area averaging would add, then linear.
coarse = []
for shape, turn, zooms in [((4, 3, 4), (10, -20, 15), (2.5, 2.5, 2.5)), ((5, 7, 2), (4, 2, 80), (1, 1, 4))]:
    linear = rotation(*turn) @ np.diag(zooms)
    target = affine_of(linear, centre[:3] - linear @ ((np.array(shape) - 1) / 2))
    map_ = np.linalg.inv(source_affine) @ target
    sigma = np.sqrt(np.maximum((map_[:3, :3] ** 2).sum(axis=1) - 1, 0) / 12)
    smooth = source.astype(float)
    for axis in range(3):
        if sigma[axis] > 0.1:
            smooth = ndimage.gaussian_filter1d(smooth, sigma[axis], axis, mode="nearest", truncate=4.0)
    values = resample(smooth, source_affine, shape, target, 1, 0.0)
    coarse.append({"shape": shape, "affine": target.tolist(), "linear": values.ravel(order="F").tolist()})


def area_average(line, low, high):
    """Mean over [low, high] of the function that is line[k] on [k - 1/2, k + 1/2], by its integral."""
    n = len(line)
    padded = np.concatenate([np.full(50, line[0]), line, np.full(50, line[-1])])
    integral = np.concatenate([[0], np.cumsum(padded)])
    edges = np.arange(-50, n + 51) - 0.5
    return (np.interp(high, edges, integral) - np.interp(low, edges, integral)) / (high - low)


# Parallel axes, reordered and reversed: the mean over the larger of the two voxels along each axis.
parallel = []
for shape, axes, steps, start in [
    ((5, 13, 2), (1, 0, 2), (1.2, 0.5, -2.5), (0.1, 0.2, 4.2)),
    ((3, 4, 9), (0, 1, 2), (2.6, -1.7, 0.5), (0.9, 5.1, 0.0)),
    ((6, 9, 7), (2, 0, 1), (0.9, 0.8, 1.0), (-0.6, -0.3, -2.0)),
    ((6, 5, 7), (1, 2, 0), (-1.0, 1.0, -1.0), (5.0, 0.0, 6.0)),
]:
    map_ = np.zeros((4, 4))
    map_[3, 3] = 1
    values = source.astype(float).transpose(axes)
    inside = np.ones(shape, bool)
    for i in range(3):
        map_[axes[i], i] = steps[i]
        map_[axes[i], 3] = start[i]
        at = steps[i] * np.arange(shape[i]) + start[i]
        width = max(1.0, abs(steps[i]))
        values = np.apply_along_axis(lambda line: area_average(line, at - width / 2, at + width / 2), i, values)
        ok = (at >= -0.5) & (at <= source.shape[axes[i]] - 0.5)
        inside &= ok.reshape([-1 if j == i else 1 for j in range(3)])
    parallel.append(
        {
            "shape": shape,
            "affine": (source_affine @ map_).tolist(),
            "linear": np.where(inside, values, -7.0).ravel(order="F").tolist(),
        }
    )

# Intensities.
image_values = np.concatenate([rng.normal(300, 80, 1500), rng.exponential(900, 100)]).astype(np.float32)
mask = rng.random(1600) < 0.7
inside = image_values[mask].astype(float)
low, high = np.percentile(inside, [0.5, 99.5])
clipped = np.clip(image_values.astype(float), low, high)
tissue = image_values > 250
centre = np.median(image_values[mask & tissue].astype(float))
scaled = np.clip((clipped - centre) / (0.2 * (centre - low)), -5, 5)
intensity = {
    "values": image_values.tolist(),
    "mask": mask.tolist(),
    "percentiles": np.percentile(inside, [0, 0.5, 37.3, 50, 99.5, 100]).tolist(),
    "tissue": tissue.tolist(),
    "normalised": np.where(mask, scaled, 0).tolist(),
}


def rounded(value):
    if isinstance(value, float):
        return float(f"{value:.9g}")
    if isinstance(value, (list, tuple)):
        return [rounded(v) for v in value]
    if isinstance(value, dict):
        return {k: rounded(v) if k not in ("affine", "values") else v for k, v in value.items()}
    return value


(OUT / "expected.json").write_text(
    json.dumps(
        rounded(
            {
                "files": expected,
                "orientations": orientations,
                "source": {"shape": source.shape, "affine": source_affine.tolist(), "values": source.ravel(order="F").tolist()},
                "resampling": resampling,
                "coarse": coarse,
                "parallel": parallel,
                "intensity": intensity,
            }
        ),
        separators=(",", ":"),
    )
)
total = sum(f.stat().st_size for f in OUT.iterdir())
print(f"{len(list(OUT.iterdir()))} files, {total / 1024:.0f} KiB")
