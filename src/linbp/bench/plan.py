"""What a run consists of: attacks, victims and shards of images, each with the key of what determines it."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from linbp.attack.config import AttackConfig
from linbp.bench.clean_images import CleanImages, preparation_key
from linbp.bench.keys import arithmetic, content_key, package_versions, slug
from linbp.bench.suite import Selection, Suite, SuiteRecipe, SuiteSurrogate, SuiteVictim
from linbp.data.image_list import ImageRecord, list_sha256
from linbp.data.preprocessing import Preparation, write_view
from linbp.evaluation.victim_input import VictimPreprocessing
from linbp.evaluation.victim_labels import PREDICTED

__all__ = ["AnswerTask", "CraftTask", "Plan", "PlannedAttack", "PlannedVictim", "Task"]


@dataclass(frozen=True)
class PlannedAttack:
    """One surrogate, one recipe, one radius, one number of steps.

    Attributes:
        surrogate, recipe: of the suite.
        eps_text: the radius as the suite has it.
        config: resolved.
        preparation: what a protocol makes of the photographs first, or None.
        settings: of the folder's manifest, without the hash of the images.
        key: content address of the attack, whatever the images are.
        needs_pool: whether the recipe mixes images in.
    """

    surrogate: SuiteSurrogate
    recipe: SuiteRecipe
    eps_text: str
    config: AttackConfig
    preparation: Preparation | None
    settings: dict[str, Any]
    key: str
    needs_pool: bool

    @property
    def name(self) -> str:
        """Of its folder under `attacks/`."""
        parts = [slug(self.surrogate.name), slug(self.recipe.name), self.eps_text.replace("/", "of")]
        return f"{'-'.join(parts)}-{self.key[:12]}"

    @property
    def folder(self) -> str:
        """The folder in the run."""
        return f"attacks/{self.name}"

    @property
    def gradients(self) -> int:
        """Per image."""
        return self.config.recipe.gradients(self.config.steps, len(self.surrogate.models))

    @property
    def view(self) -> str:
        """The key of its preparation."""
        return preparation_key(self.preparation)


@dataclass(frozen=True)
class PlannedVictim:
    """A network that is asked.

    Attributes:
        victim: of the suite.
        identity: the network's.
        preprocessing: what is done to its images, by the surrogate's name: a white box may have its own.
        white_box: names of the surrogates that have its weights.
        labels: of the images in its own classes; None: those that the images were crafted with, or, where the suite
            says so, its own predictions.
    """

    victim: SuiteVictim
    identity: dict[str, Any]
    preprocessing: dict[str, VictimPreprocessing]
    white_box: frozenset[str]
    labels: tuple[int, ...] | None = None

    @property
    def by_itself(self) -> bool:
        """Whether its labels are its own predictions of the clean images."""
        return self.victim.labels == PREDICTED


@dataclass(frozen=True)
class CraftTask:
    """The adversarial images of one shard."""

    attack: int
    shard: int


@dataclass(frozen=True)
class AnswerTask:
    """A victim's answers to one shard of adversarial images, or of clean images.

    Attributes:
        victim: its number.
        attack: the attack's number; of clean images, of any attack whose images they are.
        shard: its number.
        clean: which of the two.
    """

    victim: int
    attack: int
    shard: int
    clean: bool


Task = CraftTask | AnswerTask


@dataclass(frozen=True)
class Plan:
    """Everything that a process needs to know to do any task of a run.

    Attributes:
        suite: with every default filled in.
        store: the path or URL of the run.
        images: the clean images.
        attacks: every combination of surrogate, recipe, radius and budget, in this order.
        victims: in the suite's order.
        selection: which images count.
        device: where networks run.
        pool: records of the images to mix in.
        folder: which relative names of networks are relative to.
        class_names: of the labels, for reports; empty where no network names them.
    """

    suite: Suite
    store: str
    images: CleanImages
    attacks: tuple[PlannedAttack, ...]
    victims: tuple[PlannedVictim, ...]
    selection: Selection
    device: str
    pool: tuple[ImageRecord, ...]
    folder: str
    class_names: tuple[str, ...] = ()

    @functools.cached_property
    def shards(self) -> tuple[range, ...]:
        """The rows of the images in each shard."""
        count, size = len(self.images.records), self.suite.shard_size
        return tuple(range(at, min(at + size, count)) for at in range(0, count, size))

    def shard_key(self, attack: int, shard: int) -> str:
        """What determines the adversarial images of a shard."""
        return content_key(self.attacks[attack].key, self._content(self.attacks[attack].view, shard))

    def marker(self, attack: int, shard: int) -> str:
        """The file that says that a shard is finished, with its records."""
        return f"{self.attacks[attack].folder}/shards/{shard:05}-{self.shard_key(attack, shard)[:16]}.jsonl"

    def answers(self, task: AnswerTask) -> str:
        """The file of a victim's answers to a shard."""
        attack = self.attacks[task.attack]
        asked = self._content(attack.view, task.shard) if task.clean else self.shard_key(task.attack, task.shard)
        key = content_key(self.victim_key(task.victim, attack), asked)
        return f"answers/{slug(self.victims[task.victim].victim.name)}-{key[:24]}.parquet"

    def victim_key(self, victim: int, attack: PlannedAttack) -> str:
        """What determines a victim's answer to an image."""
        return self._victim_key(victim, attack.surrogate.name)

    def craft_tasks(self) -> list[CraftTask]:
        """Every shard of every attack."""
        return [CraftTask(a, s) for a in range(len(self.attacks)) for s in range(len(self.shards))]

    def answer_tasks(self, attacks: Sequence[int] | None = None) -> list[AnswerTask]:
        """What every victim is asked about some attacks, victim by victim; clean images that attacks share once."""
        found: dict[str, AnswerTask] = {}
        for victim in range(len(self.victims)):
            for attack in range(len(self.attacks)) if attacks is None else attacks:
                for clean in (True, False):
                    for shard in range(len(self.shards)):
                        task = AnswerTask(victim, attack, shard, clean)
                        found.setdefault(self.answers(task), task)
        return list(found.values())

    @functools.cached_property
    def fingerprint(self) -> str:
        """What determines the whole table of results."""
        named = [(a.surrogate.name, a.recipe.name, a.recipe.recipe, a.eps_text) for a in self.attacks]
        asked = [
            (v.victim.name, v.victim.model, *([v.victim.labels, v.labels] if v.victim.labels is not None else []))
            for v in self.victims
        ]
        return content_key(named, asked, self.selection, self.images.ids, sorted(self.files()))

    def files(self) -> Iterator[str]:
        """Every file that the table of results is made of."""
        yield from (self.marker(task.attack, task.shard) for task in self.craft_tasks())
        yield from (self.answers(task) for task in self.answer_tasks())

    def images_sha256(self, attack: PlannedAttack) -> str:
        """The hash of the list of images of an attack."""
        return list_sha256(self.images.records, self.images.hashes[attack.view])

    def __getstate__(self) -> dict[str, Any]:
        """Without what was computed: other processes compute it again where they need it."""
        return {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}

    @functools.cached_property
    def _contents(self) -> dict[tuple[str, int], str]:
        return {}

    def _content(self, view: str, shard: int) -> str:
        """The hash of a shard's clean images, with their names, labels and targets."""
        if (view, shard) not in self._contents:
            rows = self.shards[shard]
            hashes = self.images.hashes[view]
            records = self.images.records[rows.start : rows.stop]
            self._contents[view, shard] = list_sha256(records, hashes[rows.start : rows.stop])
        return self._contents[view, shard]

    @functools.cached_property
    def _victim_keys(self) -> dict[tuple[int, str], str]:
        return {}

    def _victim_key(self, victim: int, surrogate: str) -> str:
        if (victim, surrogate) not in self._victim_keys:
            asked = self.victims[victim]
            view = asked.preprocessing[surrogate]
            facts = {name: value for name, value in asked.identity.items() if name != "spec"}
            self._victim_keys[victim, surrogate] = content_key(
                facts,
                write_view(view.steps),
                dataclasses.asdict(view.network),
                arithmetic(self.device, self.suite.tf32),
                self.suite.threads,
                package_versions("torch", "onnxruntime"),
            )
        return self._victim_keys[victim, surrogate]
