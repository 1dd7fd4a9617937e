"""Two masks and the probabilities they were cut from: check_lab.py MASK MASK PROBABILITY PROBABILITY THRESHOLD. Prints JSON."""

import json
import sys

import nibabel as nib
import numpy as np

*files, threshold = sys.argv[1:]
a, b = (nib.load(name) for name in files[:2])
p, q = (np.asarray(nib.load(name).dataobj) for name in files[2:])
assert np.array_equal(a.affine, b.affine) and a.shape == b.shape and a.get_data_dtype() == b.get_data_dtype()
a, b = np.asarray(a.dataobj), np.asarray(b.dataobj)
# Dropping a lesion of the least size may turn on a single voxel, so its neighbours count as explained too.
on_the_edge = np.abs(p - float(threshold)) < 1e-4
explained = on_the_edge.copy()
for axis in range(3):
    for step in (-2, -1, 1, 2):
        explained |= np.roll(on_the_edge, step, axis)
print(
    json.dumps(
        {
            "largest": float(np.abs(p - q).max()),
            "flipped": int((a != b).sum()),
            "unexplained": int(((a != b) & ~explained).sum()),
            "marked": int(a.sum()),
        }
    )
)
