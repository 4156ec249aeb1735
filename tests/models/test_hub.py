"""The Hugging Face hub: fetched from a server on this machine, found in the cache, and told when it is not there."""

from __future__ import annotations

import http.server
import json
import threading
from collections.abc import Iterator
from hashlib import sha1, sha256
from pathlib import Path

import huggingface_hub.constants
import huggingface_hub.hf_api
import pytest
import torch
from hf_folders import FAMILIES, pipeline_logits, save

from linbp.errors import ModelError
from linbp.models import Model, load_model

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.ThreadingHTTPServer):
    """Serves the files of one repository, `org/tiny`, as the hub does."""

    def __init__(self, folder: Path) -> None:
        super().__init__(("127.0.0.1", 0), Answers)
        self.folder, self.asked = folder, []
        (folder / "flax_model.msgpack").write_bytes(b"large")


class Answers(http.server.BaseHTTPRequestHandler):
    server: Hub

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        self.server.asked.append(path)
        files = sorted(file.name for file in self.server.folder.iterdir())
        if path.startswith("/api/models/org/tiny"):
            facts = {"id": "org/tiny", "sha": COMMIT, "siblings": [{"rfilename": name} for name in files]}
            if "/tree/" in path:
                facts = [  # type: ignore[assignment]
                    {
                        "type": "file",
                        "path": name,
                        "size": (self.server.folder / name).stat().st_size,
                        "oid": sha1(name.encode()).hexdigest(),
                    }
                    for name in files
                ]
            self.answer(200, json.dumps(facts).encode(), {"Content-Type": "application/json"})
        elif path.startswith(f"/org/tiny/resolve/{COMMIT}/") and path.rpartition("/")[2] in files:
            content = (self.server.folder / path.rpartition("/")[2]).read_bytes()
            self.answer(200, content, {"X-Repo-Commit": COMMIT, "ETag": f'"{sha256(content).hexdigest()}"'})
        else:
            self.answer(404, b"", {"X-Error-Code": "RepoNotFound"})

    def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    torch.manual_seed(0)
    make_network, make_processor = FAMILIES["vit"]
    server = Hub(save(tmp_path / "net", make_network(), make_processor()))
    address = f"http://127.0.0.1:{server.server_port}"
    # What the variable HF_ENDPOINT would do, had it been set before the client was imported.
    monkeypatch.setattr(huggingface_hub.constants, "ENDPOINT", address)
    template = huggingface_hub.constants.HUGGINGFACE_CO_URL_TEMPLATE
    place = "{repo_id}" + template.partition("{repo_id}")[2]
    monkeypatch.setattr(huggingface_hub.constants, "HUGGINGFACE_CO_URL_TEMPLATE", f"{address}/{place}")
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_DISABLE_XET", True)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    yield server
    server.shutdown()
    server.server_close()
    thread.join()


def test_a_repository_is_fetched_and_then_found_without_a_network(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = load_model("hf:org/tiny")
    assert isinstance(model, Model)
    image = torch.randint(0, 256, (32, 32, 3), generator=torch.Generator().manual_seed(0), dtype=torch.uint8)
    expected = pipeline_logits(tmp_path / "net", image.numpy())
    torch.testing.assert_close(model.logits(image.permute(2, 0, 1)[None] / 255), expected, rtol=0, atol=1e-4)
    identity = model.identity()
    assert (identity["repository"], identity["revision"]) == ("org/tiny", COMMIT)
    assert identity["weights_sha256"] == load_model(f"hf:{tmp_path / 'net'}").identity()["weights_sha256"]
    assert not [path for path in hub.asked if path.endswith(".msgpack")]
    with pytest.raises(ModelError, match="no repository 'org/other'"):
        load_model("hf:org/other")
    asked = len(hub.asked)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    again = load_model("hf:org/tiny").identity()
    assert again == identity
    assert len(hub.asked) == asked


def test_without_network_and_copy_the_message_says_what_to_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    for source in ("hf", "hf-clip", "timm:hf-hub"):
        with pytest.raises(ModelError, match=r"could not be fetched.*\n.*hf download org/tiny --local-dir tiny"):
            load_model(f"{source}:org/tiny")
    assert capfd.readouterr() == ("", "")
