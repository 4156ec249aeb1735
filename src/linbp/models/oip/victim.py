"""A model behind HTTP or gRPC as a classifier: what it was asked once is kept."""

from __future__ import annotations

import contextlib
import hashlib
import json
import threading
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import torch
from torch import nn

from linbp.models.centre_crop import read_crop
from linbp.models.model import Model
from linbp.models.oip.address import Address
from linbp.models.oip.cache import AnswerCache
from linbp.models.oip.faults import LONGEST, persistent
from linbp.models.oip.outputs import rows_of
from linbp.models.oip.secrets import Headers
from linbp.models.oip.sidecar import Sidecar
from linbp.models.oip.tensors import TORCH, Tensors, read_tensors
from linbp.models.queries import Queries
from linbp.models.sidecar import PREPROCESSING

__all__ = ["Client", "OipVictim"]

WAIT = 0.1
"""Seconds between two looks for what another process is asking about."""

Array = npt.NDArray[Any]


class Client(Protocol):
    """What carries questions to a server."""

    def metadata(self) -> dict[str, Any]:
        """What the server says about the model."""
        ...

    def infer(self, array: Array, tensors: Tensors, top: int | None) -> list[Array]:
        """The outputs, in the order in which they are named, for a batch as the input takes it.

        Args:
            array: the batch.
            tensors: of the model.
            top: how many classes are wanted, of a server that sorts them.

        Raises:
            PassingFault: a fault that may pass.
            ModelError: any other one.
        """
        ...


class OipVictim:
    """A model behind the Open Inference Protocol: RGB images (N, 3, H, W) in [0, 1] go in, scores come out.

    Images are resized and normalised as the sidecar says, and sent in batches that the server takes. An answer is kept
    on disk under the image's pixels, the server's URL and metadata, and the preprocessing: a second question about an
    image is answered from there.

    Args:
        address: of the model.
        sidecar: what the server does not say.
        client: asks the server.
        headers: that it sends, whose values must appear nowhere.

    Raises:
        ModelError: the server cannot be asked, or what it says and the sidecar do not tell how to ask it.
    """

    def __init__(self, address: Address, sidecar: Sidecar, client: Client, headers: Headers) -> None:
        self.address, self.sidecar, self.client, self.headers = address, sidecar, client, headers
        self.name, self.answers = address.model, sidecar.answers
        with headers.kept_out_of_errors():
            told = persistent(client.metadata, sidecar.retries, address.server)
            self._metadata: dict[str, Any] = json.loads(headers.censored(json.dumps(told)))
            self.tensors = read_tensors(self._metadata, sidecar, address.model)
        self.input_size: tuple[int, int, int] | None = self.tensors.size
        self.dtype = torch.float64 if self.tensors.dtype == "FP64" else torch.float32
        self.class_names, self.classes = sidecar.names, sidecar.count
        given = {key: value for key in PREPROCESSING if (value := getattr(sidecar, key)) is not None}
        crop = read_crop(self.input_size and self.input_size[1:], sidecar.resize, sidecar.crop)
        if self.input_size is None and crop is not None:
            self.input_size = (3, *crop.crop)
        # Where any size will do, images are sent as they are; this size is then not used.
        self.preprocessing = Model(nn.Identity(), input_size=self.input_size or (3, 1, 1), **given)
        facts = self.identity()
        key = hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()
        self.cache = AnswerCache(self.name, key, facts)
        self._fresh = False
        self._lock, self._next = threading.Lock(), 0.0
        self._images = self._requests = self._kept = 0

    def identity(self) -> dict[str, Any]:
        """What results record: server, model, version, SHA-256 of the metadata, preprocessing; nothing secret."""
        told = json.dumps(self._metadata, sort_keys=True).encode()
        return {
            "name": self.name,
            "url": self.address.server,
            "model": self.address.model,
            "version": self.address.version or None,
            "versions": self._metadata.get("versions"),
            "server": self._metadata.get("server"),
            "metadata_sha256": hashlib.sha256(told).hexdigest(),
            "input": self.tensors.input,
            "outputs": list(self.tensors.outputs),
            "dtype": self.tensors.dtype,
            "layout": "NHWC" if self.tensors.channels_last else "NCHW",
            **self.preprocessing.preprocessing_arguments,
            "input_size": list(self.input_size) if self.input_size else None,
            "answers": self.answers,
            "top": self.sidecar.top,
            "classes": self.sidecar.classes,
        }

    @contextlib.contextmanager
    def afresh(self) -> Iterator[None]:
        """Inside, every image is sent, whatever is kept; what was kept first stays."""
        before, self._fresh = self._fresh, True
        try:
            yield
        finally:
            self._fresh = before

    @property
    def queries(self) -> Queries:
        """What was asked so far."""
        return Queries(images=self._images, requests=self._requests, kept=self._kept, ever=self.cache.sent)

    @property
    def left(self) -> int | None:
        """How many more images may be sent; None: any number."""
        budget = self.sidecar.budget
        return None if budget is None else max(0, budget - self.cache.sent)

    def logits(self, images: torch.Tensor) -> torch.Tensor:
        """Scores (N, classes) of images (N, 3, H, W) in [0, 1]; of labels and the best few see `as_scores`.

        Raises:
            ModelError: the server fails, answers with something else, or the budget is used up.
            StoreError: answers cannot be kept.
        """
        pixels = images.detach().to(device="cpu", dtype=self.dtype).contiguous()
        keys = [hashlib.sha256(f"{tuple(one.shape)}".encode() + one.numpy().tobytes()).digest() for one in pixels]
        if self._fresh:
            return self._as_tensor(np.stack(self._ask_all(self._prepared(pixels), keys)))
        known = self._once(pixels, {key: row for row, key in reversed(list(enumerate(keys)))})
        return self._as_tensor(np.stack([known[key] for key in keys]))

    def _once(self, pixels: torch.Tensor, places: dict[bytes, int]) -> dict[bytes, Array]:
        """Answers to images, by hash, which have places in `pixels`: nobody asks about one that another asks about."""
        known = self.cache.get(list(places))
        self._kept += len(known)
        owner = uuid.uuid4().hex
        while missing := sorted((key for key in places if key not in known), key=places.__getitem__):
            mine = self.cache.claim(missing, owner, self._longest(len(missing)))
            if mine:
                try:
                    ready = self._prepared(pixels[[places[key] for key in mine]])
                    known |= zip(mine, self._ask_all(ready, mine), strict=True)
                finally:
                    self.cache.release(owner)
            else:
                others = self.cache.get(missing)
                self._kept += len(others)
                known |= others
                if not others:
                    time.sleep(WAIT)
        return known

    def _longest(self, images: int) -> float:
        """Seconds that images may take to be answered: in requests one after the other, each repeated every time."""
        one = (self.sidecar.timeout + LONGEST) * (self.sidecar.retries + 1)
        return images * (one + 1 / (self.sidecar.rate or 1.0))

    def _as_tensor(self, answers: Array) -> torch.Tensor:
        """Rows as they are kept, as a classifier answers: labels (N,), or scores (N, classes)."""
        if self.answers == "scores":
            return torch.from_numpy(answers)
        if self.answers == "labels":
            return torch.from_numpy(answers[:, 0])
        scores = torch.full((len(answers), self.classes or 0), -torch.inf, dtype=torch.float64)
        return scores.scatter_(1, torch.from_numpy(answers[:, 0]).long(), torch.from_numpy(answers[:, 1].copy()))

    def _prepared(self, pixels: torch.Tensor) -> torch.Tensor:
        """Images as the server takes them."""
        ready = self.preprocessing(pixels) if self.input_size else self.preprocessing.normalise(pixels)
        if self.tensors.dtype == "UINT8":
            ready = (ready * 255).round().clamp(0, 255)
        if self.tensors.channels_last:
            ready = ready.permute(0, 2, 3, 1)
        return ready.to(TORCH[self.tensors.dtype]).contiguous()

    def _ask_all(self, ready: torch.Tensor, keys: Sequence[bytes]) -> list[Array]:
        """Rows for images, asked in batches; those of other batches are kept where one fails."""
        size = self.sidecar.batch or self.tensors.batch or self._metadata.get("max_batch_size") or len(ready)
        starts = range(0, len(ready), size)

        def ask(start: int) -> Array:
            return self._ask(ready[start : start + size].numpy(), keys[start : start + size])

        if self.sidecar.concurrency == 1 or len(starts) == 1:
            return [row for start in starts for row in ask(start)]
        with ThreadPoolExecutor(self.sidecar.concurrency) as pool:
            futures = [pool.submit(ask, start) for start in starts]
            try:
                return [row for future in futures for row in future.result()]
            finally:
                pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, batch: Array, keys: Sequence[bytes]) -> Array:
        """Rows for one batch, kept before they are returned."""
        fixed = 0 if self.sidecar.batch else (self.tensors.batch or 0)
        lack = max(0, fixed - len(batch))
        filled = np.concatenate([batch, np.repeat(batch[-1:], lack, axis=0)]) if lack else batch

        def send() -> list[Array]:
            self._wait()
            self.cache.spend(len(batch), self.sidecar.budget, self.name)
            with self._lock:
                self._images, self._requests = self._images + len(batch), self._requests + 1
            return self.client.infer(filled, self.tensors, self.sidecar.top)

        with self.headers.kept_out_of_errors():
            outputs = persistent(send, self.sidecar.retries, self.address.server)
            rows = rows_of(outputs, self.sidecar, len(filled), self.name)[: len(batch)]
        if not self._fresh:
            self.cache.put(dict(zip(keys, rows, strict=True)))
        return rows

    def _wait(self) -> None:
        """Until the next request may be sent."""
        if self.sidecar.rate is None:
            return
        with self._lock:
            now = time.monotonic()
            start = max(now, self._next)
            self._next = start + 1 / self.sidecar.rate
        time.sleep(start - now)
