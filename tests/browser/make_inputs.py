"""Makes the inputs of the browser tests, good and bad: make_inputs.py FOLDER. Prints {name: path}."""

import gzip
import json
import sys
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np

folder = Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
paths = {}
rng = np.random.default_rng(20)


def radii(shape, spacing):
    """Of every voxel, how far out it lies in an ellipsoid: 1 on its surface."""
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing)]
    x, y, z = np.meshgrid(*axes, indexing="ij")
    return np.sqrt((x / 17) ** 2 + (y / 19) ** 2 + (z / 15) ** 2)


def head(shape, spacing):
    """An ellipsoid with noise, brighter inside: enough of a head to be normalised."""
    radius = radii(shape, spacing)
    return np.where(radius < 1, 300 + 60 * np.cos(9 * radius) + rng.normal(0, 12, shape), rng.normal(0, 2, shape) ** 2)


def affine(spacing, shape, shift=(0, 0, 0)):
    matrix = np.diag([*spacing, 1.0])
    matrix[:3, 3] = [-(n - 1) / 2 * step + move for n, step, move in zip(shape, spacing, shift)]
    return matrix


def save(name, data, matrix):
    path = folder / name
    nib.save(nib.Nifti1Image(data, matrix), path)
    paths[name.split(".")[0]] = str(path)
    return path


shape, spacing = (44, 48, 40), (1.0, 1.0, 1.0)
place = affine(spacing, shape)
flair = head(shape, spacing).astype(np.int16)
good = save("good.nii.gz", flair, place)
save("good_t1.nii.gz", head(shape, spacing).astype(np.int16), place)

# Fat around the brain, three times as bright as anything in it.
radius = radii(shape, spacing)
save("fat.nii.gz", np.where((radius > 0.88) & (radius < 1), 1100, flair).astype(np.int16), place)

# A name as BIDS has them, oblique, anisotropic, axes turned: the output must come back in exactly this grid.
turn = np.deg2rad(11)
rotation = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
thick = np.eye(4)
thick[:3, :3] = rotation @ np.diag([-1.1, 1.3, 2.2])
thick[:3, 3] = rotation @ np.array([24.0, -23.0, -20.0])
save("sub-x_ses-2_FLAIR.nii.gz", head((44, 36, 18), (1.1, 1.3, 2.2)).astype(np.float32), thick)

raw = good.read_bytes()
(folder / "text.nii.gz").write_text("This is not a scan.\n")
(folder / "truncated.nii.gz").write_bytes(raw[: len(raw) * 6 // 10])
(folder / "empty.nii.gz").write_bytes(b"")
plain = gzip.decompress(raw)
(folder / "disagree.nii").write_bytes(plain[: 352 + (len(plain) - 352) // 2])
for name in ["text.nii.gz", "truncated.nii.gz", "empty.nii.gz", "disagree.nii"]:
    paths[name.split(".")[0]] = str(folder / name)

save("fourd.nii.gz", np.stack([flair, flair, flair], axis=-1), place)
save("constant.nii.gz", np.full(shape, 7, np.int16), place)
save("mask.nii.gz", (flair > 300).astype(np.uint8), place)
broken = flair.astype(np.float32)
broken[20, 20, 10:33] = np.nan
broken[21, 21, 10:17] = np.inf
save("nan.nii.gz", broken, place)
coarse = (22, 24, 20)
save("t1_other_grid.nii.gz", head(coarse, (2, 2, 2)).astype(np.int16), affine((2, 2, 2), coarse, (1.5, -2, 1)))
lesions = np.zeros(coarse, np.uint8)
lesions[8:12, 9:13, 8:11] = 1
save("mask_other_grid.nii.gz", lesions, affine((2, 2, 2), coarse, (1.5, -2, 1)))
save("mask_far.nii.gz", (flair > 300).astype(np.uint8), affine(spacing, shape, (900, 0, 0)))
save("t1_far.nii.gz", head(shape, spacing).astype(np.int16), affine(spacing, shape, (900, 0, 0)))

# The small sample's T1, as if the patient had moved by this many mm before it.
sample = nib.load(Path(__file__).parents[2] / "www/samples/small_T1w.nii.gz")
away = np.eye(4)
away[:3, 3] = (4, -3, 3)
nib.save(nib.Nifti1Image(np.asarray(sample.dataobj), away @ sample.affine), folder / "t1_moved.nii.gz")
paths["t1_moved"] = str(folder / "t1_moved.nii.gz")


def stream(name, header, inflated):
    """A gzip file with this header and then zeros until it inflates to that many bytes."""
    packer = zlib.compressobj(1, zlib.DEFLATED, 31)
    with open(folder / name, "wb") as file:
        file.write(packer.compress(header))
        block = bytes(1 << 20)
        for _ in range(inflated >> 20):
            file.write(packer.compress(block))
        file.write(packer.flush())
    paths[name.split(".")[0]] = str(folder / name)


# Small on disk, 3 GB inflated, though the header promises 44 x 48 x 40 voxels.
stream("bomb.nii.gz", plain[:352], 3 << 30)
# A header that promises more than any page can hold, and a file that keeps none of it.
huge = nib.Nifti1Header()
huge.set_data_dtype(np.float32)
huge.set_data_shape((2500, 2500, 2500))
huge["vox_offset"] = 352
huge["magic"] = b"n+1"
stream("huge.nii.gz", huge.binaryblock + bytes(4), 4 << 20)

print(json.dumps(paths))
