"""Export, one file per format, each verified in its own runtime after writing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mobilenets.data.splits import Label
from mobilenets.errors import CheckpointError, VerificationError
from mobilenets.exports.bundle import Artifact, bundle, planned
from mobilenets.exports.census import Census, census
from mobilenets.exports.departures import first_departure
from mobilenets.exports.formats import FORMATS, Format, format_of
from mobilenets.exports.postprocess import Postprocess
from mobilenets.exports.samples import calibration_images, labelled_images, sample_images
from mobilenets.exports.verify import TOLERANCE, Verification, verify
from mobilenets.exports.whole import failed_name, move, remove, replacing_artifact, size_bytes
from mobilenets.exports.write import checked, write, write_as
from mobilenets.model import MobileNet, load
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime.session import Images

__all__ = [
    "FORMATS",
    "TOLERANCE",
    "Artifact",
    "Census",
    "Format",
    "Postprocess",
    "Verification",
    "bundle",
    "calibration_images",
    "census",
    "checked",
    "export",
    "first_departure",
    "format_of",
    "labelled_images",
    "planned",
    "sample_images",
    "size_bytes",
    "verify",
    "write",
]


def export(
    model: MobileNet | str | Path,
    path: str | Path,
    *,
    images: Sequence[str | Path] | Images = (),
    tolerance: float | None = None,
    precision: Precision = "fp32",
    calibration: Images | None = None,
    scheme: Scheme = Scheme(),  # noqa: B008 - frozen
    labels: Sequence[Label] | None = None,
    max_drop: float | None = None,
    postprocess: Postprocess = Postprocess(),  # noqa: B008 - frozen
) -> Verification:
    """Write a deployable file and prove it.

    The file takes uint8 (n, h, w, c) images and gives class probabilities, boxes or masks (`mobilenets.outputs`); class
    names, preprocessing and the table are in its metadata. It is reloaded in a fresh process, in its own runtime, and
    compared with the model before it gets its name; a file that fails is kept beside it as `NAME.failed.EXT`, and
    whatever had the name before stays.

    Args:
        model: a model, or a checkpoint's path.
        path: ends in the format's suffix: `.onnx`, `.xml`, `.tflite`, `.pte`, `.mlpackage`, `.c`, `.pt2`.
        images: files or folders (or uint8 n h w c arrays) to compare on; generated scenes where none are given.
        tolerance: largest allowed difference between probabilities (of box codes, ten times as much); by the precision
            unless given.
        precision: of weights (fp16), or of weights and activations (int8).
        calibration: uint8 (n, h, w, c) images that activation ranges are taken from; int8 wants some.
        scheme: how int8 is made.
        labels: of the images, where these are arrays: int8 is then judged by the task's metric.
        max_drop: what int8 may lose of it; 0.01, and 0.02 of AP and mIoU, unless given.
        postprocess: whether boxes or masks are made inside the file, where the format can, and by which thresholds.

    Raises:
        UnknownNameError: a suffix that no format has.
        MisuseError: images of another size than the model's, none that can be read, or int8 without images.
        MissingExtraError: the converter or the runtime is not installed.
        VerificationError: the artifact disagrees; the message names the first departing node.
    """
    path = Path(path)
    format = checked(path, precision, has_images=calibration is not None and len(calibration) > 0)
    module = model if isinstance(model, MobileNet) else load(model)
    pixels = images if isinstance(images, np.ndarray) else sample_images(module, images)
    failed = failed_name(path)
    with replacing_artifact(path) as temporary:
        write_as(format, module, temporary, precision, calibration, scheme, postprocess)
        try:
            result = verify(module, temporary, pixels, tolerance=tolerance, labels=labels, max_drop=max_drop)
        except CheckpointError as error:
            move(temporary, failed)
            said = str(error).removeprefix(f"{temporary}: ")
            raise VerificationError(f"{path} does not run after writing: {said} It is kept as {failed}.") from error
        if not result.passed:
            move(temporary, failed)
            raise VerificationError(f"{path} disagrees with the model: {result}. It is kept as {failed}.", result)
    remove(failed)
    return result
