"""CIFAR-10 is read from both layouts; what is missing, broken or cut short gives one clear line."""

from __future__ import annotations

import dataclasses
import hashlib
import http.server
import pickle
import shutil
import tarfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.datasets import CIFAR10

from linbp.data.cifar10 import CIFAR10_SHA256, Cifar10, load_cifar10
from linbp.errors import ImageError, StoreError

BATCHES = [*(f"data_batch_{number}" for number in range(1, 6)), "test_batch"]


@pytest.fixture
def mosaics(cifar_mosaics: Path, tmp_path: Path) -> Path:
    """A copy of the mosaics that a test may break; hard links, so that nothing is copied."""
    folder = tmp_path / "mosaics"
    folder.mkdir()
    for path in cifar_mosaics.iterdir():
        (folder / path.name).hardlink_to(path)
    return folder


def pixels_of(seed: int, count: int) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)


def md5(path: Path) -> str:
    return hashlib.md5(path.read_bytes()).hexdigest()


@pytest.fixture
def batches(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Six files in the layout of the original, of seven images each, which torchvision takes for the original."""
    folder = tmp_path / "cache"
    inside = folder / "cifar-10-batches-py"
    inside.mkdir(parents=True)
    for seed, name in enumerate(BATCHES):
        content = {"data": pixels_of(seed, 7).reshape(7, -1), "labels": [(seed + at) % 10 for at in range(7)]}
        (inside / name).write_bytes(pickle.dumps(content))
    (inside / "batches.meta").write_bytes(pickle.dumps({"label_names": list("abcdefghij")}))
    sums = [[name, md5(inside / name)] for name in BATCHES]
    monkeypatch.setattr(CIFAR10, "train_list", sums[:5])
    monkeypatch.setattr(CIFAR10, "test_list", sums[5:])
    monkeypatch.setattr(CIFAR10, "meta", {**CIFAR10.meta, "md5": md5(inside / "batches.meta")})
    return folder


@dataclasses.dataclass
class Server:
    """An archive that is served over HTTP from this machine to itself."""

    content: bytes
    sent: int | None = None
    """How many bytes are sent before the connection breaks off; None: all."""
    found: bool = True
    asked: int = 0


@pytest.fixture
def server(batches: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """The same files as a download: torchvision's address points to this machine."""
    path = tmp_path / "served.tar.gz"
    with tarfile.open(path, "w:gz") as file:
        file.add(batches / "cifar-10-batches-py", "cifar-10-batches-py")
    state = Server(path.read_bytes())

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            state.asked += 1
            self.send_response(200 if state.found else 404)
            self.send_header("Content-Length", str(len(state.content) if state.found else 0))
            self.end_headers()
            if state.found:
                self.wfile.write(state.content[: state.sent])

        def log_message(self, *words: object) -> None:
            pass

    monkeypatch.setenv("no_proxy", "*")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        thread = threading.Thread(target=listening.serve_forever)
        thread.start()
        monkeypatch.setattr(CIFAR10, "url", f"http://127.0.0.1:{listening.server_port}/cifar-10-python.tar.gz")
        monkeypatch.setattr(CIFAR10, "tgz_md5", md5(path))
        yield state
        listening.shutdown()
        thread.join()


def check_batches(data: Cifar10) -> None:
    """Image by image against the arrays that were written."""
    assert data.train_images.shape == (35, 32, 32, 3)
    assert data.train_images.dtype == torch.uint8
    assert data.train_labels.tolist() == [(seed + at) % 10 for seed in range(5) for at in range(7)]
    for seed in range(5):
        for at, image in enumerate(pixels_of(seed, 7)):
            assert (data.train_images[7 * seed + at].numpy() == np.moveaxis(image, 0, -1)).all()
    assert (data.test_images.numpy() == np.moveaxis(pixels_of(5, 7), 1, -1)).all()
    assert data.test_labels.tolist() == [(5 + at) % 10 for at in range(7)]


def test_mosaics_hold_images_row_by_row(cifar_mosaics: Path) -> None:
    data = load_cifar10(cifar_mosaics)
    labels = np.frombuffer((cifar_mosaics / "labels.u8").read_bytes(), np.uint8)
    assert (data.train_images.shape, data.test_images.shape) == ((50_000, 32, 32, 3), (10_000, 32, 32, 3))
    assert (data.train_labels.numpy() == labels[:50_000]).all()
    assert (data.test_labels.numpy() == labels[50_000:]).all()
    for images, name, index in (
        (data.train_images, "train_0", 0),
        (data.train_images[:10_000], "train_0", 9_999),
        (data.train_images[30_000:], "train_3", 1_234),
        (data.test_images, "test_0", 345),
    ):
        row, column = divmod(index, 100)
        with Image.open(cifar_mosaics / f"{name}.webp") as mosaic:
            tile = mosaic.convert("RGB").crop((32 * column, 32 * row, 32 * column + 32, 32 * row + 32))
        assert (images[index].numpy() == np.asarray(tile)).all()


@pytest.mark.slow
def test_the_shared_mosaics_are_cifar10(shared: Path) -> None:
    data = load_cifar10(shared / "data" / "cifar10")
    assert data.sha256() == CIFAR10_SHA256
    assert torch.bincount(data.train_labels).tolist() == [5000] * 10
    assert torch.bincount(data.test_labels).tolist() == [1000] * 10
    mean = data.train_images.double().mean((0, 1, 2)) / 255
    torch.testing.assert_close(mean.tolist(), [0.4914, 0.4822, 0.4465], rtol=0, atol=1e-4)  # as is often published
    assert data.train_labels[:3].tolist() == [6, 9, 9]  # a frog and two trucks


def test_torchvisions_layout(batches: Path) -> None:
    check_batches(load_cifar10(batches))


def test_a_download(server: Server, tmp_path: Path) -> None:
    check_batches(load_cifar10(tmp_path / "new" / "folder", download=True))


def test_a_download_that_broke_off_is_fetched_anew(server: Server, tmp_path: Path) -> None:
    server.sent = len(server.content) // 2
    with pytest.raises(ImageError, match="CIFAR-10") as caught:
        load_cifar10(tmp_path / "new", download=True)
    assert "Run the same command again" in caught.value.hint
    with pytest.raises(ImageError, match="holds no CIFAR-10"):
        load_cifar10(tmp_path / "new")
    server.sent = None
    check_batches(load_cifar10(tmp_path / "new", download=True))


def test_an_address_that_has_nothing(server: Server, tmp_path: Path) -> None:
    server.found = False
    with pytest.raises(ImageError, match=r"CIFAR-10.*Not Found"):
        load_cifar10(tmp_path / "new", download=True)


def test_a_machine_without_a_network(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("no_proxy", "*")
    monkeypatch.setattr(CIFAR10, "url", "http://127.0.0.1:9/cifar-10-python.tar.gz")  # nobody listens there
    with pytest.raises(ImageError, match=r"CIFAR-10.*Connection refused"):
        load_cifar10(tmp_path / "new", download=True)


def test_what_is_there_is_not_fetched_again(server: Server, batches: Path) -> None:
    check_batches(load_cifar10(batches, download=True))
    assert server.asked == 0


def test_a_folder_that_cannot_be_made(server: Server, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(StoreError, match="cannot be written"):
        load_cifar10(tmp_path / "file" / "new", download=True)


Break = Callable[[Path], object]


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (lambda folder: (folder / "train_3.webp").unlink(), r"a part of CIFAR-10 only: train_3.webp is missing"),
        (lambda folder: (folder / "labels.u8").unlink(), r"labels.u8 is missing"),
        (lambda folder: cut(folder / "test_0.webp"), r"test_0.webp cannot be read"),
        (lambda folder: cut(folder / "labels.u8"), r"labels.u8 holds 30000 labels, not 60000"),
        (lambda folder: relabel(folder / "labels.u8"), r"holds a label 10: CIFAR-10 has 0 to 9"),
        (lambda folder: shrink(folder / "train_1.webp"), r"train_1.webp is 320 x 320 pixels, not 3200 x 3200"),
    ],
)
def test_broken_mosaics(mosaics: Path, damage: Break, words: str) -> None:
    damage(mosaics)
    with pytest.raises(ImageError, match=words) as caught:
        load_cifar10(mosaics)
    assert caught.value.hint


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (shutil.rmtree, r"is not there"),
        (lambda folder: shutil.rmtree(folder / "cifar-10-batches-py"), r"holds no CIFAR-10"),
        (lambda folder: (folder / "cifar-10-batches-py" / "data_batch_2").unlink(), r"data_batch_2 is missing"),
        (lambda folder: (folder / "cifar-10-batches-py" / "batches.meta").unlink(), r"batches.meta is missing"),
        (lambda folder: cut(folder / "cifar-10-batches-py" / "test_batch"), r"are not those of CIFAR-10"),
    ],
)
def test_broken_batches(batches: Path, damage: Break, words: str) -> None:
    damage(batches)
    with pytest.raises(ImageError, match=words) as caught:
        load_cifar10(batches)
    assert "--download" in caught.value.hint


def test_other_files_are_not_unpickled(batches: Path) -> None:
    (batches / "cifar-10-batches-py" / "data_batch_1").write_bytes(b"cos\nsystem\n(S'touch ran'\ntR.")
    with pytest.raises(ImageError, match="CIFAR-10"):
        load_cifar10(batches)
    assert not Path("ran").exists()


def test_the_first_images_only(batches: Path) -> None:
    data = load_cifar10(batches)
    some = data.first(9, 2)
    assert (len(some.train_images), len(some.train_labels), len(some.test_images), len(some.test_labels)) == (
        9,
        9,
        2,
        2,
    )
    assert torch.equal(some.train_images, data.train_images[:9])
    assert data.first(None, None).sha256() == data.sha256() != some.sha256()
    for counts in ((0, None), (None, 0)):
        with pytest.raises(ImageError, match="is 0"):
            data.first(*counts)


def cut(path: Path) -> None:
    content = path.read_bytes()
    path.unlink()  # not the file that other tests have
    path.write_bytes(content[: len(content) // 2])


def relabel(path: Path) -> None:
    labels = bytearray(path.read_bytes())
    labels[77] = 10
    path.unlink()
    path.write_bytes(labels)


def shrink(path: Path) -> None:
    path.unlink()
    Image.new("RGB", (320, 320)).save(path, lossless=True)
