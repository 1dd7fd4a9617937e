"""compare.py A B: the largest difference of two images, and how far the values of the first are spread."""

import json
import sys

import nibabel as nib
import numpy as np

a, b = (np.asarray(nib.load(path).dataobj, dtype=np.float64) for path in sys.argv[1:3])
print(json.dumps({"largest": float(np.abs(a - b).max()), "spread": float(a.max() - a.min())}))
