"""Write the files of the README's tour into the present folder.

`digit.json`: one digit as a request for curl. `digits.npz`: 300 digits and what each version must answer, for
`changeover bench --input`. `broken.onnx`: version 2 with weights that are no numbers, as a diverged training leaves it.
"""

# ruff: noqa: T201 - an example talks to people
import json
from pathlib import Path

import numpy as np

from changeover.demo import digits

samples = digits.load_samples()
images = samples.inputs()
tensor = {"name": "image", "datatype": "FP32", "shape": [1, 1, 28, 28], "data": images[0].ravel().tolist()}
Path("digit.json").write_text(json.dumps({"inputs": [tensor]}))
np.savez("digits.npz", image=images, expected_1=samples.scores["1"], expected_2=samples.scores["2"])
Path("broken.onnx").write_bytes(digits.make_broken(digits.model_bytes("2")))
print("written: digit.json, digits.npz, broken.onnx")
