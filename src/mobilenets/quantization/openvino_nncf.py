"""Post-training static int8 of an OpenVINO model by NNCF, which knows what OpenVINO runs fast."""

from __future__ import annotations

from typing import Any, assert_never

import numpy as np
from numpy.typing import NDArray

from mobilenets.errors import MissingExtraError, MisuseError
from mobilenets.onnx.calibration import KEPT
from mobilenets.onnx.quantized import PREPROCESSING, check_addresses, check_images
from mobilenets.outputs import INSIDE
from mobilenets.precision import Calibration, Scheme
from mobilenets.runtime.quiet import quiet


def quantize_openvino(
    model: Any, images: NDArray[np.uint8], scheme: Scheme | None = None, *, behind: frozenset[str] = frozenset()
) -> Any:
    """A float `openvino.Model` of ours as int8, with NNCF's bias correction.

    Scaling of the pixels and softmax stay in float. `entropy` becomes NNCF's histogram search, which looks for the
    least squared error, and `percentile` is the widest of the images'. The processor plugin has no 16-bit activations:
    `scheme.wide` stays in float.

    Args:
        model: from the ONNX file that `to_onnx` makes, so that operations carry our addresses; it stays as it is.
        images: uint8 (n, h, w, c), to take ranges from.
        scheme: see `Scheme`; the default where None.
        behind: addresses of the nodes behind a detector's or segmenter's last convolutions (`float_ends`), which stay
            in float, and so does all post-processing.

    Raises:
        MisuseError: no images, images of another shape, or a model that is int8 already.
        UnknownNameError: `keep_float` or `wide` names a node that the model does not have.
        MissingExtraError: without NNCF.
    """
    try:
        import nncf
    except ImportError as error:
        raise MissingExtraError("nncf", "openvino", purpose="int8 for OpenVINO") from error
    from nncf.quantization import advanced_parameters as advanced

    scheme = scheme or Scheme()
    operations = model.get_ordered_ops()
    if any(operation.get_type_name() == "FakeQuantize" for operation in operations):
        raise MisuseError("the model is int8 already: quantize the float checkpoint that it was made from.")
    check_images(images, tuple(dim.get_length() for dim in list(model.input().get_partial_shape())[1:]))
    addresses = {operation.get_friendly_name(): _addresses(operation) for operation in operations}
    check_addresses(scheme, set().union(*addresses.values()))
    kept = scheme.keep_float | scheme.wide | set(PREPROCESSING) | behind
    ignored = [name for name, known in addresses.items() if known & kept or name.startswith(INSIDE)]
    with quiet():  # progress bars, a log
        return nncf.quantize(
            model,
            nncf.Dataset([image[None] for image in images]),
            preset=nncf.QuantizationPreset.MIXED,  # activations need not be symmetric: those of h-swish are not
            subset_size=len(images),
            ignored_scope=nncf.IgnoredScope(names=ignored, validate=False),
            advanced_parameters=advanced.AdvancedQuantizationParameters(
                overflow_fix=advanced.OverflowFix.DISABLE,
                weights_quantization_params=advanced.QuantizationParameters(per_channel=scheme.per_channel),
                activations_range_estimator_params=_estimator(scheme.calibration),
            ),
        )


def _addresses(operation: Any) -> set[str]:
    """The nodes that an operation belongs to: its own name's, that whose weight it reads, and that which a norm ends.

    A depthwise convolution's weight is reshaped on the way in and loses its name.
    """
    own = operation.get_friendly_name().split("/")[0]
    reads = [value.get_source_output().get_node().get_friendly_name() for value in operation.inputs()]
    weights = {name.removesuffix(".weight") for name in reads if name.endswith(".weight")}
    return {own, *weights, *({f"{own.removesuffix('.bn')}.conv"} if own.endswith(".bn") else ())}


def _estimator(method: Calibration) -> Any:
    from nncf.quantization.range_estimator import (
        AggregatorType,
        RangeEstimatorParameters,
        RangeEstimatorParametersSet,
        StatisticsCollectorParameters,
        StatisticsType,
    )

    match method:
        case "minmax":
            return RangeEstimatorParametersSet.MINMAX
        case "percentile":
            tail = (1 - KEPT / 100) / 2
            low, high = (
                StatisticsCollectorParameters(StatisticsType.QUANTILE, widest, quantile_outlier_prob=tail)
                for widest in (AggregatorType.MIN, AggregatorType.MAX)
            )
            return RangeEstimatorParameters(min=low, max=high)
        case "entropy":
            return RangeEstimatorParametersSet.HISTOGRAM
        case _:
            assert_never(method)
