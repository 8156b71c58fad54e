"""One call for all formats: the suffix says which, the file appears whole or not at all."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from mobilenets.errors import ExportError, MisuseError, MobileNetsError
from mobilenets.exports.formats import Format, check_precision, format_of
from mobilenets.exports.postprocess import Postprocess
from mobilenets.exports.whole import replacing_artifact
from mobilenets.model import MobileNet, evaluating
from mobilenets.precision import Precision, Scheme
from mobilenets.runtime.session import Images, first_line


def write(
    model: MobileNet,
    path: Path,
    *,
    precision: Precision = "fp32",
    calibration: Images | None = None,
    scheme: Scheme = Scheme(),  # noqa: B008 - frozen
    postprocess: Postprocess = Postprocess(),  # noqa: B008 - frozen
) -> None:
    """Write a deployable file, whole or not at all; nothing is proven yet (`export` does both).

    Args:
        model: what to write.
        path: ends in the format's suffix; the other files of OpenVINO (`.bin`) and C (`.h`) get the same name.
        precision: of weights (fp16), or of weights and activations (int8).
        calibration: uint8 (n, h, w, c) images that activation ranges are taken from; int8 wants some.
        scheme: how int8 is made.
        postprocess: whether boxes or masks are made inside the file, where the format can, and by which thresholds.

    Raises:
        UnknownNameError: a suffix that no format has, or no such precision.
        MisuseError: the format does not have the precision, or int8 without images.
        MissingExtraError: the converter is not installed.
        ExportError: it failed.
    """
    format = checked(path, precision, has_images=calibration is not None and len(calibration) > 0)
    with replacing_artifact(path) as temporary:
        write_as(format, model, temporary, precision, calibration, scheme, postprocess)


def checked(path: Path, precision: Precision, *, has_images: bool) -> Format:
    """The format of a request that can be fulfilled.

    Raises:
        UnknownNameError: a suffix that no format has, or no such precision.
        MisuseError: the format does not have the precision, or int8 without images.
    """
    format = format_of(path)
    check_precision(format, precision)
    check_images(((format, precision),), has_images=has_images)
    return format


def check_images(plan: Sequence[tuple[Format, Precision]], *, has_images: bool) -> None:
    """Refuse int8 without images.

    Raises:
        MisuseError: a format whose activations are int8, too, has none to take their ranges from.
    """
    needy = [format.title for format, precision in plan if precision == "int8" and not format.weights_only]
    if needy and not has_images:
        raise MisuseError(
            f"int8 ({', '.join(needy)}) takes its ranges from images: give some hundred of those the model is for, "
            "with --data DATA or --images PATHS."
        )


def write_as(
    format: Format, model: MobileNet, path: Path, precision: Precision, calibration: Images | None, scheme: Scheme,
    postprocess: Postprocess,
) -> None:  # fmt: skip
    """Write one format at a path that may be left half written; the model is left as it was."""
    inside = postprocess.within(format, model.network)
    try:
        with evaluating(model):
            _write_as(format, model, path, precision, calibration, scheme, postprocess if inside else None)
    except (MobileNetsError, OSError, MemoryError):
        raise
    except Exception as error:  # whatever a converter raises
        raise ExportError(
            f"{path.name}: {format.title} cannot be written in {precision}: {type(error).__name__}: {first_line(error)}"
        ) from error


def _write_as(
    format: Format, model: MobileNet, path: Path, precision: Precision, calibration: Images | None, scheme: Scheme,
    inside: Postprocess | None,
) -> None:  # fmt: skip
    match format.name:
        case "onnx":
            from mobilenets.exports import onnx_

            onnx_.write(model, path, precision=precision, calibration=calibration, scheme=scheme, inside=inside)
        case "openvino":
            from mobilenets.exports import openvino_

            openvino_.write(model, path, precision=precision, calibration=calibration, scheme=scheme, inside=inside)
        case "litert":
            from mobilenets.exports import litert_

            litert_.write(model, path, precision=precision, calibration=calibration, scheme=scheme)
        case "executorch":
            from mobilenets.exports import executorch_

            executorch_.write(model, path, precision=precision, calibration=calibration, scheme=scheme)
        case "coreml":
            from mobilenets.exports import coreml_

            coreml_.write(model, path, precision=precision)
        case "c":
            from mobilenets.exports import c_

            c_.write(model, path, precision=precision)
        case "pytorch":
            from mobilenets.exports import pytorch_

            pytorch_.write(model, path)
