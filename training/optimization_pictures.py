"""The pictures of docs/mnist.md, made of the package's own digits models.

python training/optimization_pictures.py
"""

from __future__ import annotations

import json
import tempfile
from pathlib import Path

from changeover.demo import digits
from changeover.workbench.microscope import Wish, look
from changeover.workbench.picture import picture

_IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> None:
    """Draw both, and print what was measured."""
    for version in digits.VERSIONS:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "model.onnx"
            path.write_bytes(digits.model_bytes(version))
            document, graphs = look(path, Wish(seconds=5.0))
        (_IMAGES / f"digits_v{version}_levels.svg").write_text(picture(document, graphs), "utf-8")
        for level in document["levels"]:
            print(json.dumps({"model": f"digits v{version}", **{k: v for k, v in level.items() if k != "rewrites"}}))


if __name__ == "__main__":
    main()
