"""The runner as one file that travels: a zip of the light rooms that Python runs as it is."""

from __future__ import annotations

import base64
import io
import zipfile
from pathlib import Path

LIGHT = (
    "__init__.py",
    "version.py",
    "errors.py",
    "files.py",
    "metrics/*.py",
    "outputs.py",
    "precision.py",
    "preprocessing.py",
    "runtime/*.py",
    "latency/sensors.py",
    "latency/runner.py",
)
"""What a device needs of this package; numpy and the artifact's runtime must be there."""

OLDEST = (3, 11)

# Old interpreters run these lines too: they have to say why they cannot go on.
CHECK = f"""\
import json, sys
if sys.version_info < {OLDEST}:
    found = ".".join(map(str, sys.version_info[:3]))
    print(json.dumps({{"error": "Python %s is too old: {OLDEST[0]}.{OLDEST[1]} or newer is needed there" % found}}))
    sys.exit(0)
"""

MAIN = CHECK + "from mobilenets.latency.runner import main\nmain(sys.argv[1:])\n"

_BOOTSTRAP = (
    CHECK
    + """\
import os, tempfile
with tempfile.TemporaryDirectory(prefix="mobilenets-") as folder:
    path = os.path.join(folder, "runner.pyz")
    with open(path, "wb") as file:
        file.write(sys.stdin.buffer.read(int(sys.stdin.buffer.readline())))
    sys.path.insert(0, path)
    from pathlib import Path
    from mobilenets.latency.runner import serve
    serve(Path(folder), [sys.executable, path])
"""
)
BOOTSTRAP = f"import base64;exec(base64.b64decode('{base64.b64encode(_BOOTSTRAP.encode()).decode()}'))"
"""Python that takes the runner from stdin (its length in a line, then its bytes), runs it and leaves nothing behind.

One line of letters, so that every shell hands it over as it is.
"""


def runner() -> bytes:
    """The zip, made of the package that runs now."""
    root = Path(__file__).parents[1]
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_DEFLATED) as archive:
        for pattern in LIGHT:
            for path in sorted(root.glob(pattern)):
                archive.write(path, Path("mobilenets", path.relative_to(root)))
        archive.writestr("mobilenets/latency/__init__.py", "")  # the room's own loads what stays here
        archive.writestr("__main__.py", MAIN)
    return made.getvalue()
