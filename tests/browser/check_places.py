"""The values around places in an image, as JSON: check_places.py IMAGE X Y Z [X Y Z ...], in mm. For each place the lowest and the highest of the
3 x 3 x 3 voxels there."""

import json
import sys

import nibabel as nib
import numpy as np

image = nib.load(sys.argv[1])
data = np.asarray(image.dataobj)
ranges = []
for place in np.array(sys.argv[2:], float).reshape(-1, 3):
    i, j, k = np.rint(nib.affines.apply_affine(np.linalg.inv(image.affine), place)).astype(int)
    around = data[tuple(slice(max(0, n - 1), n + 2) for n in (i, j, k))]
    ranges.append([float(around.min()), float(around.max())] if around.size else [0.0, 0.0])
print(json.dumps(ranges))
