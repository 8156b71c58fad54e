"""What a candidate's training begins from: its weights of the search, published ones, random ones."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from mobilenets.data.folder import Folder
from mobilenets.errors import CheckpointError, MisuseError, MobileNetsError
from mobilenets.fitting.candidates import Candidate
from mobilenets.model import load
from mobilenets.table.rows import Network
from mobilenets.training import Finetune, Recipe, Training, recipe_named
from mobilenets.training.objectives import Data
from mobilenets.training.recipe import Dense, for_images
from mobilenets.training.start import Start, begin_for, calibrate
from mobilenets.weights import pretrained, published_for


class Starts:
    """Weights for candidates, by what the user asked for.

    Args:
        source: a file, `hf://owner/repo`, `imagenet`, `auto` or `none`.
        kept: where the search keeps candidates' weights.
        folder: the data, for its classes and task.
        seed: of random weights and of the training.
        note: told each thing once.
    """

    def __init__(self, source: str, kept: Path, folder: Folder, seed: int, note: Callable[[str], None]) -> None:
        self.source, self.kept, self.folder, self.seed, self.note = source, kept, folder, seed, note
        self.told: set[str] = set()
        self.begun: dict[str, str | None] = {}
        self.known: dict[tuple[str, float], bool] = {}
        self.unreachable = False

    def path(self, candidate: Candidate) -> Path:
        """Where the search keeps a candidate's weights."""
        return self.kept_at(candidate.network)

    def kept_at(self, network: Network) -> Path:
        """Where the search keeps a network's weights."""
        stride = "" if network.output_stride is None else f"_os{network.output_stride}"
        return self.kept / f"{network.name}_{network.width:g}_{network.resolution}{stride}.safetensors"

    def training(self, candidate: Candidate, seconds: float, train: Data, val: Data) -> Training:
        """A training of a candidate from what there is, for some seconds."""
        path = self.path(candidate)
        if path.is_file():
            model = load(path)
            start, kind = Start(model), recipe_named(model.info.recipe["recipe"])
        else:
            start = self.start(candidate)
            self.begun[candidate.label] = start.source
            calibrate(start, train)
            warm = Finetune if start.source is not None else Recipe
            kind = Dense if self.folder.task in ("detect", "segment") else warm
        recipe = for_images(kind(minutes=seconds / 60, seed=self.seed), len(train))
        return Training(start.model, recipe, train, val, fresh=start.fresh)

    def warm(self, candidate: Candidate) -> bool:
        """Whether there are weights that a network starts from; asked once a width, and not once nobody answers."""
        source, name = self.source, (candidate.network.name, candidate.network.width)
        if name not in self.known:
            named = source in ("auto", "imagenet")
            if source == "none" or (named and (published_for(candidate.network) is None or self.unreachable)):
                self.known[name] = False
            else:
                try:
                    self.known[name] = pretrained(candidate.network, source, note=self.note_once) is not None
                except MobileNetsError:
                    self.known[name] = False
                self.unreachable = named and not self.known[name]
        return self.known[name]

    def start(self, candidate: Candidate) -> Start:
        """From the weights that were asked for; from random ones where those are another network's, or too narrow."""
        try:
            return begin_for(candidate.network, self.folder, self.source, seed=self.seed, note=self.note_once)
        except (MisuseError, CheckpointError) as error:
            if self.source == "imagenet" or not Path(self.source).is_file():
                raise
            self.note_once(f"{candidate.label} starts from random weights: {str(error).splitlines()[0]}")
            return begin_for(candidate.network, self.folder, "none", seed=self.seed, note=self.note_once)

    def source_of(self, candidate: Candidate) -> str | None:
        """Where the weights that a candidate's training began from come from; None for random ones."""
        if candidate.label in self.begun:
            return self.begun[candidate.label]
        return self.source if self.warm(candidate) else None  # begun in an earlier sitting

    def note_once(self, text: str) -> None:
        """Tell what was not told before."""
        if text not in self.told:
            self.told.add(text)
            self.note(text)
