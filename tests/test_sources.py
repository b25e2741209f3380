import dataclasses
import hashlib
import io
import os
import pickle
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from epsutil import sources
from epsutil.sources import Source, SourceError

CONTENT = b"index,accuracy\n0,93.66\n"
NAME = "toy/accuracies.csv"
REFUSED = "http://127.0.0.1:9/accuracies.csv"  # nothing listens on the discard port


@pytest.fixture
def toy(monkeypatch, tmp_path):
    """One small source; an empty data folder and a cache that does not exist yet."""
    source = Source(
        name=NAME,
        sha256=hashlib.sha256(CONTENT).hexdigest(),
        size=len(CONTENT),
        url=REFUSED,
        licence="MIT",
        origin="made up",
        description="a toy",
    )
    (tmp_path / "data").mkdir()
    monkeypatch.setenv("EPSUTIL_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("EPSUTIL_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    monkeypatch.setitem(sources.SOURCES, NAME, source)
    return source


@pytest.fixture
def serve(monkeypatch, toy):
    """Serve the toy's address from this machine; call with a status and a body."""
    servers = []

    def start(status, body):
        requests = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                requests.append(self.path)
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        servers.append(server)
        threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
        url = f"http://127.0.0.1:{server.server_port}/accuracies.csv"
        monkeypatch.setitem(sources.SOURCES, NAME, dataclasses.replace(toy, url=url))
        return requests

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def put(folder, content=CONTENT):
    file = folder / NAME
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content)
    return file


def message(error):
    """Return the error's text, which must be a single line."""
    text = str(error.value)
    assert "\n" not in text
    return text


def test_data_folder_comes_before_cache(toy, tmp_path):
    in_cache = put(tmp_path / "cache" / "data")
    assert sources.path(NAME) == in_cache
    in_data = put(tmp_path / "data")
    assert sources.path(NAME) == in_data
    assert sources.available(NAME)


def test_download_goes_to_the_cache_once(serve, tmp_path):
    requests = serve(200, CONTENT)
    file = sources.path(NAME)
    assert file == tmp_path / "cache" / "data" / NAME
    assert file.read_bytes() == CONTENT
    assert sources.fetch(NAME) == [file]
    assert len(requests) == 1
    assert list((tmp_path / "data").iterdir()) == []


def test_available_never_downloads(serve):
    requests = serve(200, CONTENT)
    assert not sources.available(NAME)
    assert requests == []


@pytest.mark.parametrize("content", [CONTENT[:-5], CONTENT.replace(b"93", b"94")])
@pytest.mark.parametrize("folder", ["data", "cache/data"])
def test_truncated_or_altered_file(toy, tmp_path, folder, content):
    file = put(tmp_path / folder, content)
    for call in (sources.path, sources.available, sources.fetch):
        with pytest.raises(SourceError) as error:
            call(NAME)
        text = message(error)
        assert str(file) in text
        assert f"{len(CONTENT)} bytes" in text and f"{len(content)} bytes" in text
        assert toy.sha256[:12] in text and hashlib.sha256(content).hexdigest()[:12] in text
        assert "replace" in text


def test_file_that_changes_is_checked_again(toy, tmp_path):
    file = put(tmp_path / "data")
    sources.path(NAME)
    put(tmp_path / "data", CONTENT.replace(b"93", b"94"))  # same size
    os.utime(file, ns=(0, file.stat().st_mtime_ns + 1_000))
    with pytest.raises(SourceError, match="altered"):
        sources.path(NAME)


def test_unchanged_file_is_read_once(toy, tmp_path, monkeypatch):
    put(tmp_path / "data")
    sources.path(NAME)
    monkeypatch.setattr(sources.pooch, "file_hash", lambda *args, **kwargs: pytest.fail("read"))
    sources.path(NAME)


def test_folder_in_place_of_the_file(toy, tmp_path):
    (tmp_path / "data" / NAME).mkdir(parents=True)
    with pytest.raises(SourceError, match="cannot read"):
        sources.path(NAME)


def test_no_network(toy):
    with pytest.raises(SourceError) as error:
        sources.path(NAME)
    text = message(error)
    assert REFUSED in text and "network" in text and "EPSUTIL_DATA" in text


def test_address_is_gone(serve):
    serve(404, b"")
    with pytest.raises(SourceError, match="HTTP 404"):
        sources.path(NAME)


def test_altered_download_is_not_kept(serve, tmp_path):
    serve(200, b"<html>moved</html>")
    with pytest.raises(SourceError) as error:
        sources.path(NAME)
    assert "no longer the expected file" in message(error)
    assert [p for p in (tmp_path / "cache").rglob("*") if p.is_file()] == []


def test_cache_that_cannot_be_written(serve, tmp_path):
    serve(200, CONTENT)
    (tmp_path / "cache").write_text("a file where the folder should be")
    with pytest.raises(SourceError) as error:
        sources.path(NAME)
    text = message(error)
    assert str(tmp_path / "cache") in text and "EPSUTIL_CACHE" in text


def test_no_address(toy, monkeypatch):
    monkeypatch.setitem(sources.SOURCES, NAME, dataclasses.replace(toy, url=""))
    with pytest.raises(SourceError) as error:
        sources.path(NAME)
    text = message(error)
    assert "made up" in text and "EPSUTIL_DATA" in text


def test_data_folder_that_does_not_exist(toy, monkeypatch, tmp_path):
    monkeypatch.setenv("EPSUTIL_DATA", str(tmp_path / "nowhere"))
    with pytest.raises(SourceError, match="nowhere"):
        sources.path(NAME)


def test_unknown_name_is_found_before_any_download(serve):
    requests = serve(200, CONTENT)
    with pytest.raises(SourceError, match="unknown source 'nats.csv'.*nats_bench.csv"):
        sources.fetch(NAME, "nats.csv")
    assert requests == []


def test_table_has_a_row_per_source():
    table = sources.table()
    assert list(table["File"]) == list(sources.SOURCES)
    assert table["SHA-256"].str.fullmatch("[0-9a-f]{64}").all()
    assert (table[["Content", "Origin", "Licence"]] != "").all(axis=None)
    assert (table.loc[table["Address"] != "", "Address"].str.startswith("https://")).all()


@pytest.mark.parametrize("name", sources.SOURCES)
def test_what_is_at_hand_is_the_expected_file(name):
    if not sources.available(name):
        pytest.skip(f"not at hand: {name} (set EPSUTIL_DATA)")
    assert sources.SOURCES[name].size == sources.path(name).stat().st_size


def test_pickle_gets_only_what_is_allowed():
    class Stand:
        pass

    stream = io.BytesIO(pickle.dumps(Source("a", "b", 1, "c", "d", "e")))
    loaded = sources.load_pickle(stream, {("epsutil.sources", "Source"): Stand})
    assert type(loaded) is Stand and vars(loaded)["name"] == "a"


def test_pickle_that_asks_for_more_is_refused(tmp_path):
    class Attack:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "harm"),)

    stream = io.BytesIO(pickle.dumps(Attack()))
    with pytest.raises(SourceError, match="mkdir"):
        sources.load_pickle(stream, {("posix", "open"): os.open})
    assert not (tmp_path / "harm").exists()
