"""What a search is worth: its network against a paper's, and its shared weights against full trainings.

    python -m benchmarks.search against RUN DATA mobilenet_v3_small --width 0.75 --minutes 10 --seeds 3
    python -m benchmarks.search rank RUN DATA --networks 12 --epochs 3

RUN is the folder of a finished `mobilenets search`. `against` trains the network that it chose and the paper's, at the
same resolution, from random weights for the same minutes by the same recipe, a seed of each in turn, and scores the
exported files on the test images (validation images where DATA has none); latencies are timed by turns. `rank` draws
networks evenly over their cost, scores each by the shared weights and trains each from random weights for the same
epochs: Spearman's rank correlation. What is done already is read from RUN/benchmark, so both go on where they were.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
from pathlib import Path

import torch
from rich.console import Console
from rich.table import Table

from benchmarks.tables import machine
from mobilenets.cli.progress import Display
from mobilenets.costs import cost
from mobilenets.data.folder import Folder, open_folder
from mobilenets.exports import export, sample_images
from mobilenets.exports.shipping import ending_of
from mobilenets.files import write_text
from mobilenets.latency import device
from mobilenets.metrics import METRICS
from mobilenets.model import save
from mobilenets.prediction import DetectionEvaluation, evaluate_labelled, open_model
from mobilenets.search.timing import Clock
from mobilenets.searching import spearman
from mobilenets.searching.state import State
from mobilenets.supernet import SharedWeights, scored
from mobilenets.supernet.sandwich import Sandwich
from mobilenets.table import Network, scale, with_classes
from mobilenets.table import json as table_json
from mobilenets.training import Recipe, Training, load_splits
from mobilenets.training.objectives import Data
from mobilenets.training.recipe import FEW_IMAGES, Dense, for_images
from mobilenets.training.run import open_data
from mobilenets.training.start import begin_for
from mobilenets.zoo import network as network_named


def trained(
    table: Network, folder: Folder, splits: tuple[Data, Data], recipe: Recipe, file: Path, display: Display
) -> dict[str, float]:
    """Scores of a network trained from random weights: in training, and its exported file's."""
    if file.with_suffix(".json").is_file():
        return dict(json.loads(file.with_suffix(".json").read_text()))
    display.phase(f"training {table.label}, seed {recipe.seed}")
    start = begin_for(table, folder, "none", seed=recipe.seed, note=display.note)
    training = Training(start.model, recipe, *splits)
    model = training.run(on_tick=display.tick, on_note=display.note)
    save(model, file)
    images = sample_images(model, [sample.path for sample in folder.splits["val"]])
    export(model, file.with_suffix(".onnx"), images=images)
    split = "test" if "test" in folder.splits else "val"
    found = evaluate_labelled(open_model(file.with_suffix(".onnx")), folder.splits[split], on_progress=display.advance)
    told = {"val": training.best_score, split: found.metric, "steps": training.step, "seconds": training.seconds}
    told |= {"AP50": found.scores.ap50} if isinstance(found, DetectionEvaluation) else {}
    display.note(f"{table.label}, seed {recipe.seed}: {told}")
    write_text(file.with_suffix(".json"), json.dumps(told))
    return told


def recipe_for(
    table: Network, seed: int, *, minutes: float | None = None, epochs: int | None = None, adamw: bool = False
) -> Recipe:
    """From random weights; with AdamW as few images have it, which V3-Small learns faster with on many, too."""
    if table.task == "classify":
        return for_images(Recipe(minutes=minutes, epochs=epochs, seed=seed), 0 if adamw else FEW_IMAGES)
    return Dense(minutes=minutes, epochs=epochs, seed=seed, layer_decay=1.0, head_first=0.0)


def against(arguments: argparse.Namespace) -> None:
    """The chosen network and a paper's, trained equally long."""
    run = Path(arguments.run)
    report = json.loads((run / "report.json").read_text())
    searched = table_json.read(report["result"]["table"])
    paper = scale(network_named(arguments.network), arguments.width, searched.resolution)
    tables = [searched, with_classes(paper, searched.classes)]
    clock = Clock(device("local"), 1, "fp32", ending_of(searched.task))
    out = run / "benchmark"
    out.mkdir(exist_ok=True)
    with Display() as display:
        folder = open_data(
            arguments.data, searched, seed=0
        )  # both learn anew: DATA may have test images that RUN had not
        splits = load_splits(folder, searched.resolution, display)
        display.metric = METRICS[folder.task]
        found: dict[str, list[dict[str, float]]] = {table.label: [] for table in tables}
        for seed in range(arguments.seeds):
            for table in tables:
                by = "_adamw" if arguments.adamw else ""
                file = out / f"{table.name}_{table.width:g}_{arguments.minutes:g}{by}_{seed}.safetensors"
                recipe = recipe_for(table, seed, minutes=arguments.minutes, adamw=arguments.adamw)
                found[table.label].append(trained(table, folder, splits, recipe, file, display))
        ratios = [ratio for ratio, _ in clock.ratios(tables[1], tables)]
    told = Table(title=f"{arguments.minutes:g} minutes each, {arguments.seeds} seeds", caption=machine())
    for column in ("network", "latency", "M macs", "scores", "mean", "spread"):
        told.add_column(column)
    metric = next(key for key in ("AP50", "test", "val") if key in found[searched.label][0])
    for table, ratio in zip(tables, ratios, strict=True):
        scores = [each[metric] for each in found[table.label]]
        spread = statistics.stdev(scores) if len(scores) > 1 else float("nan")
        listed = " ".join(f"{score:.2%}" for score in scores)
        macs = f"{cost(table).macs / 1e6:.1f}"
        told.add_row(table.label, f"{ratio:.3f}", macs, listed, f"{statistics.mean(scores):.2%}", f"{spread:.2%}")
    Console(width=130).print(told)


def rank(arguments: argparse.Namespace) -> None:
    """Rank correlation of scores by shared weights and of full trainings."""
    run = Path(arguments.run)
    state, folder = State.read(run), open_folder(arguments.data)
    task = "classify" if folder.task == "multi-label" else folder.task
    space = state.space(task, len(folder.classes))
    out = run / "benchmark"
    out.mkdir(exist_ok=True)
    rng = random.Random(7)
    drawn = sorted((space.draw(rng) for _ in range(20 * arguments.networks)), key=lambda p: cost(space.network(p)).macs)
    points = drawn[10 :: len(drawn) // arguments.networks][: arguments.networks]
    with Display() as display:
        folder = open_data(
            arguments.data, space.network(points[0]), seed=state.asked.seed, split_file=run / "split.json"
        )
        splits = load_splits(folder, max(int(r) for r in space.choices["resolution"]), display)
        display.metric = METRICS[folder.task]
        shared = SharedWeights(space, folder.classes, folder.task)
        Sandwich(shared, Recipe(minutes=1.0), splits[0]).restore(run / "shared.safetensors")
        pairs = []
        for number, point in enumerate(points):
            table = space.network(point)
            recipe = recipe_for(table, 0, epochs=arguments.epochs, adamw=arguments.adamw)
            by = "_adamw" if arguments.adamw else ""
            file = out / f"{table.name}_{arguments.epochs}_epochs{by}.safetensors"
            if number % arguments.of != arguments.turn and not file.with_suffix(".json").is_file():
                continue  # another process's
            before = scored(shared, point, *splits)
            full = trained(table, folder, splits, recipe, file, display)
            kind, macs = str(point["blocks"]), cost(table).macs
            pairs.append((before, full["val"], kind, macs))
            display.note(f"{kind}, {macs / 1e6:.1f} M macs: {before:.1%} by shared weights, {full['val']:.1%} trained")
    for kind in ("", *sorted({pair[2] for pair in pairs})):
        chosen = [pair for pair in pairs if kind in pair[2]]
        value = spearman([pair[0] for pair in chosen], [pair[1] for pair in chosen])
        by_macs = spearman([pair[3] for pair in chosen], [pair[1] for pair in chosen])
        print(f"{kind or 'all'}: rank correlation {value} over {len(chosen)} networks; of their macs alone {by_macs}")
    print(machine())


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    verbs = parser.add_subparsers(required=True)
    one = verbs.add_parser("against")
    one.add_argument("run")
    one.add_argument("data")
    one.add_argument("network")
    one.add_argument("--width", type=float, default=1.0)
    one.add_argument("--minutes", type=float, default=10.0)
    one.add_argument("--seeds", type=int, default=3)
    one.add_argument("--adamw", action="store_true", help="train classifiers with AdamW instead of SGD")
    one.set_defaults(do=against)
    two = verbs.add_parser("rank")
    two.add_argument("run")
    two.add_argument("data")
    two.add_argument("--networks", type=int, default=12)
    two.add_argument("--epochs", type=int, default=3)
    two.add_argument("--adamw", action="store_true", help="as above")
    two.add_argument("--turn", type=int, default=0, help="this process trains every so manyth network...")
    two.add_argument("--of", type=int, default=1, help="...where so many processes share them")
    two.set_defaults(do=rank)
    torch.manual_seed(0)
    chosen = parser.parse_args()
    chosen.do(chosen)
