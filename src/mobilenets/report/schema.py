"""What `report.json` may hold. Every key is optional: a section of the page appears where its data is there.

Plain JSON throughout. Shares are in [0, 1]; keys end in their unit; None stands for what was not measured. Names of
files are relative to the folder of the report.
"""

from __future__ import annotations

from typing import Any, Literal, TypedDict

Value = str | int | float | bool | None
"""What a line of facts may say."""

State = Literal["passed", "failed", "not run here"]
"""Of an artifact: it agrees with its model, it does not, or its runtime does not exist on this machine."""


class Command(TypedDict, total=False):
    """A line to type, and what it does."""

    what: str
    line: str


class Budget(TypedDict, total=False):
    """What must hold together; `text` says it in words."""

    text: str
    latency_ms: float
    file_bytes: float


class Machine(TypedDict, total=False):
    """Where something was measured: `name` is the processor."""

    name: str
    kind: str
    cores: int
    memory_bytes: int
    system: str
    runtime: str
    precision: str
    threads: int


class Model(TypedDict, total=False):
    """The network that the report is of, and what was measured of its artifact."""

    network: str
    width: float
    resolution: int
    params: int
    macs: int
    peak_activation_bytes: int
    file_bytes: int
    latency_ms: float
    latency_p90_ms: float
    latency_runs: int
    metric: float
    metric_name: str
    beside: dict[str, float]
    test_top1: float
    test_map: float
    test_ap: float
    test_miou: float
    artifact: str
    checkpoint: str


class Data(TypedDict, total=False):
    """The images. `skipped` lists unreadable ones: `path`, `error`."""

    path: str
    classes: list[str]
    train_images: int
    val_images: int
    test_images: int
    skipped: list[dict[str, str]]


class Candidate(TypedDict, total=False):
    """A network that was considered; see `mobilenets.fitting.candidates.Candidate`."""

    network: str
    width: float
    resolution: int
    macs: int
    params: int
    file_bytes: int
    output_stride: int
    expected_top1_percent: float
    expected_ap_percent: float
    expected_miou_percent: float
    predicted_ms: float
    measured_ms: float | None
    status: str
    reason: str
    search_top1: float | None
    search_ap: float | None
    search_miou: float | None


class Epoch(TypedDict, total=False):
    """A line of the training's history; the score's key is `val_top1`, `val_map`, `val_ap` or `val_miou`."""

    epoch: float
    seconds: float
    lr: float
    train_loss: float
    val_loss: float
    val_top1: float
    val_map: float
    val_ap: float
    val_miou: float


class Pair(TypedDict, total=False):
    """A class that was taken for another: `count` of the `images` of the true one."""

    true: str
    predicted: str
    count: int
    images: int


class Recall(TypedDict, total=False):
    """Of one class: how many images there are, and the share that was recognised (None without images)."""

    name: str
    images: int
    recall: float | None


class Confusion(TypedDict, total=False):
    """True classes (rows) against predicted ones (columns), in counts; no `counts` where there are too many."""

    images: int
    right: int
    of: str
    classes: list[Recall]
    counts: list[list[int]]
    pairs: list[Pair]


class ClassScores(TypedDict, total=False):
    """Scores of one class, in the order of the table's columns; None where nothing was there to score."""

    name: str
    count: int
    scores: list[float | None]


class PerClass(TypedDict, total=False):
    """A detector's or segmenter's score of each class: `columns` names the scores, `unit` what is counted."""

    of: str
    unit: str
    columns: list[str]
    rows: list[ClassScores]


class Drawn(TypedDict, total=False):
    """An image with what was found drawn on it."""

    name: str
    picture: str
    note: str


class Mistake(TypedDict, total=False):
    """An image that was not recognised, or a place of one. `picture` is what the network saw."""

    name: str
    kind: str
    picture: str
    true: str
    predicted: str
    confidence: float
    true_confidence: float


class Mistakes(TypedDict, total=False):
    """The images with the least probability for the truth, worst first; or wrong boxes, missed objects, pixels."""

    images: int
    wrong: int
    shown: list[Mistake]


class CostRow(TypedDict, total=False):
    """One row of the network's table."""

    name: str
    op: str
    output_shape: list[int]
    params: int
    macs: int
    weight_bytes: int
    activation_bytes: int


class Costs(TypedDict, total=False):
    """What each row costs, and what the counts mean."""

    conventions: str
    params: int
    macs: int
    peak_activation_bytes: int
    peak_activation_at: str
    rows: list[CostRow]


class Rung(TypedDict, total=False):
    """One try to make int8 hold its accuracy. `drop_points` is against the float model, in percent points."""

    name: str
    what: str
    runtime: str
    metric: float | None
    drop_points: float | None
    file_bytes: int
    latency_ms: float | None
    seconds: float
    passed: bool | None
    note: str


class NodeNoise(TypedDict, total=False):
    """Signal to quantization noise of a node, and the precision that it was left in.

    Attributes:
        snr_db: of its values where all nodes are int8.
        alone_db: of the logits where it alone is int8: what it costs.
    """

    name: str
    op: str
    snr_db: float | None
    alone_db: float | None
    precision: str


class Quantization(TypedDict, total=False):
    """The ladder. `chosen` is the name of the best rung; None says that none passed and float is kept."""

    runtime: str
    images: int
    calibration_images: int
    max_drop_points: float
    float_metric: float
    metric_name: str
    chosen: str | None
    rungs: list[Rung]
    nodes: list[NodeNoise]


class Timed(TypedDict, total=False):
    """Milliseconds of one image on a device."""

    median_ms: float
    p90_ms: float
    runs: int
    threads: int
    runtime: str
    precision: str
    device: str


class Parity(TypedDict, total=False):
    """The artifact against the PyTorch model on the same images: differences of probabilities."""

    images: int
    max_difference: float
    tolerance: float
    top1_agreement: float
    first_departure: str | None
    passed: bool


class Artifact(TypedDict, total=False):
    """One exported file and what is known of it. `metric` is its own, in its own runtime, on `images` images."""

    file: str
    format: str
    precision: str
    runtime: str
    file_bytes: int
    metric: float | None
    metric_name: str
    images: int
    latency: Timed | None
    parity: Parity | None
    batch: str | int
    operators: dict[str, int]
    islands: list[str]
    sha256: str
    state: State
    reason: str


class Picture(TypedDict, total=False):
    """A picture file to show under a title."""

    title: str
    file: str
    note: str


class File(TypedDict, total=False):
    """A file and its hash."""

    file: str
    file_bytes: int
    sha256: str


class Licence(TypedDict, total=False):
    """Where weights come from and under what licence, as their repository states it."""

    what: str
    source: str
    licence: str
    note: str


class Report(TypedDict, total=False):
    """Everything that a page can show, in the order it is shown.

    Attributes:
        verb: what was run: `fit`, `quantize`, `export`.
        title: in place of the model's name.
        date: when it ended, ISO 8601.
        seconds: how long it took.
        asked: what was asked for, in the user's words and order.
        commands: lines that do it again.
        task: `classify`, `multi-label`, `detect` or `segment`.
        winner: the model that the report is of.
        verification: of the winner's artifact.
        notes: remarks that a reader must not miss.
    """

    verb: str
    title: str
    date: str
    seconds: float
    asked: dict[str, Value]
    commands: list[Command]
    task: str
    budget: Budget
    device: Machine
    winner: Model
    verification: Parity
    data: Data
    notes: list[str]
    stepped_down: list[str]
    prediction: dict[str, Any]
    candidates: list[Candidate]
    artifacts: list[Artifact]
    quantization: Quantization
    history: list[Epoch]
    confusion: Confusion
    per_class: PerClass
    drawn: list[Drawn]
    mistakes: Mistakes
    costs: Costs
    pictures: list[Picture]
    files: list[File]
    licences: list[Licence]
    versions: dict[str, str]
