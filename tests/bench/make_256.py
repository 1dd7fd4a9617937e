"""Puts the sample head into 256^3 voxels of 1 mm, as scanners often write: `make_256.py SAMPLES OUT_FOLDER`."""

import sys
from pathlib import Path

import nibabel as nib
import numpy as np

SIDE = 256

samples, out = map(Path, sys.argv[1:])
out.mkdir(parents=True, exist_ok=True)
for channel in ("FLAIR", "T1w"):
    image = nib.load(samples / f"head_{channel}.nii.gz")
    before = [(SIDE - n) // 2 for n in image.shape]
    after = [SIDE - n - b for n, b in zip(image.shape, before)]
    voxels = np.pad(np.asanyarray(image.dataobj).astype(np.int16), list(zip(before, after)))
    affine = image.affine.copy()
    affine[:3, 3] -= affine[:3, :3] @ before
    nib.save(nib.Nifti1Image(voxels, affine), out / f"whole_{channel}.nii.gz")
