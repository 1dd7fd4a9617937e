"""What a BIDS-derivatives zip holds: check_zip.py ZIP MASK REPORT. Prints JSON."""

import json
import sys
import zipfile
from pathlib import Path

archive, mask, report = sys.argv[1:]
with zipfile.ZipFile(archive) as opened:
    assert opened.testzip() is None, "a checksum is wrong"
    names = opened.namelist()

    def member(ending):
        return opened.read(next(name for name in names if name.endswith(ending)))

    print(
        json.dumps(
            {
                "names": names,
                "description": json.loads(member("dataset_description.json")),
                "sidecar": json.loads(member("_mask.json")),
                "same": {
                    "mask": member("_mask.nii.gz") == Path(mask).read_bytes(),
                    "report": member("_report.json") == Path(report).read_bytes(),
                },
            }
        )
    )
