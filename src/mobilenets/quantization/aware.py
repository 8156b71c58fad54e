"""Quantization-aware fine-tuning: training goes on with the rounding of int8 inside, and the float model as a teacher.

Papers: Jacob et al. (arXiv:1712.05877), section 3, for the fake quantization, batch norm folded inside it; Hinton et
al. (arXiv:1503.02531) for the teacher.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from mobilenets.data.cache import Squares
from mobilenets.model import MobileNet, addressed, deploy
from mobilenets.onnx.quantized import float_ends
from mobilenets.precision import Scheme
from mobilenets.quantization.pt2e import corrected, xnnpack_rules
from mobilenets.runtime.quiet import quiet
from mobilenets.training import Finetune, Training
from mobilenets.training.distill import ask_teachers
from mobilenets.watching import Watcher

RATE = 1e-4
"""Learning rate of AdamW at batch size 64: a tenth of fine-tuning's, as the model is where it should be already."""


def train_aware(
    model: MobileNet,
    train: Squares,
    val: Squares,
    *,
    minutes: float | None = None,
    epochs: int | None = None,
    teacher: str | Path | None = None,
    scheme: Scheme | None = None,
    lr: float = RATE,
    seed: int = 0,
    watcher: Watcher | None = None,
) -> MobileNet:
    """Float weights that stand int8 better: for every format's own quantizer.

    Weights and activations are rounded in each forward pass as XNNPACK rounds them, and gradients go straight through.
    Batch norm keeps its statistics, so that what is trained is what is folded later. The last averaged weights are
    given back, not those that are best in float.

    Args:
        model: trained, in float; it stays as it is.
        train: decoded training images.
        val: decoded validation images; its score is the float model's.
        minutes: of wall-clock time; or
        epochs: passes over the training images.
        teacher: the float checkpoint or exported file whose answers are learned beside the labels.
        scheme: which nodes stay in float, and whether weights have a scale a channel.
        lr: peak learning rate.
        seed: of order and augmentation.
        watcher: told about progress.

    Raises:
        MissingExtraError: without torchao.
        DivergedError: the loss left the numbers, twice.
        KeyboardInterrupt: Ctrl-C, after the step it fell into.
    """
    watcher = watcher or Watcher()
    student = addressed(deploy(model))
    recipe = Finetune(
        minutes=minutes, epochs=epochs, lr=lr, weight_decay=1e-4, head_first=0.0, layer_decay=1.0, label_smoothing=0.0,
        bn_images=0, precision="fp32", teacher_share=0.0 if teacher is None else 0.9, seed=seed,
    )  # fmt: skip
    graph = rounding(student, scheme or Scheme())
    answers = None
    if teacher is not None:
        watcher.phase("asking the float model", len(train))
        answers = ask_teachers(
            [teacher], train, model.info.classes, on_progress=watcher.advance, note=watcher.note
        )  # fmt: skip
    training = Training(student, recipe, train, val, teacher=answers, stand_in=graph)
    watcher.phase("quantization-aware fine-tuning")
    trained = training.run(on_tick=watcher.tick, on_epoch=watcher.epoch, on_note=watcher.note)
    made = MobileNet(model.network, info=model.info)
    made.load_state_dict(trained.state_dict())
    return made.eval()


def rounding(model: MobileNet, scheme: Scheme) -> nn.Module:
    """A graph with the model's own parameters that rounds as int8 does, in training mode.

    Raises:
        MissingExtraError: without torchao.
    """
    rules, inner = xnnpack_rules()
    size, channels = model.network.resolution, model.network.in_channels
    sample = torch.zeros(2, channels, size, size)
    config = rules.get_symmetric_quantization_config(is_per_channel=scheme.per_channel, is_qat=True)
    inner.set_global(config)
    kept = scheme.keep_float | scheme.wide | frozenset().union(*float_ends(model.nodes))
    quantizer = corrected(inner, config.output_activation, kept)
    with quiet():
        from torchao.quantization.pt2e.quantize_pt2e import prepare_qat_pt2e

        shape = ({0: torch.export.Dim.DYNAMIC},)
        program = torch.export.export(_Inside(model).eval(), (sample,), dynamic_shapes=shape)
        graph: Any = prepare_qat_pt2e(program.module(check_guards=False), quantizer)
    for node in graph.graph.nodes:
        if "batch_norm" in str(node.target):
            node.args = (*node.args[:5], False, *node.args[6:])  # statistics stay, although the rest trains
    graph.recompile()
    made: nn.Module = graph
    return made


class _Inside(nn.Module):
    """A network below the name that addresses are looked for under."""

    def __init__(self, network: MobileNet) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        """Logits."""
        logits: Tensor = self.network(x)
        return logits
