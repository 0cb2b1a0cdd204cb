"""The client against the real API on a socket, in both dialects."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import pytest

from overnight.client.client import Client
from overnight.client.errors import ClientError, Refused
from overnight.service.files import FilesOptions
from support.api_server import ApiServer
from support.client import client_of

Dialect = Literal["openai", "together"]
LINE = b'{"custom_id":"a","body":{"model":"m","messages":[]}}\n'
ENDPOINT = "/v1/chat/completions"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiServer]:
    with ApiServer(tmp_path_factory.mktemp("api") / "data") as server:
        yield server


@pytest.fixture(params=["openai", "together"])
def dialect(request: pytest.FixtureRequest) -> Dialect:
    named: Dialect = request.param
    return named


@pytest.fixture
def client(server: ApiServer, dialect: Dialect) -> Iterator[Client]:
    with client_of(server.base_url, dialect) as client:
        yield client


@pytest.fixture
def input_file(tmp_path: Path) -> Path:
    path = tmp_path / "prömpts.jsonl"
    path.write_bytes(LINE * 5000)
    return path


def test_what_is_uploaded_can_be_seen_downloaded_and_deleted(
    client: Client, input_file: Path, tmp_path: Path
) -> None:
    sent: list[int] = []
    file = client.upload(input_file, on_bytes=sent.append)
    size = len(LINE) * 5000
    assert (file.name, file.bytes) == ("prömpts.jsonl", size)
    assert sent == sorted(sent)
    assert sent[-1] == size
    assert client.file(file.id) == file
    assert file in list(client.files())

    got: list[tuple[int, int | None]] = []
    target = tmp_path / "copy.jsonl"
    assert client.download(file.id, target, on_bytes=lambda *seen: got.append(seen)) == size
    assert target.read_bytes() == input_file.read_bytes()
    assert got[0] == (0, size)
    assert got[-1] == (size, size)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["copy.jsonl", "prömpts.jsonl"]

    client.delete_file(file.id)
    with pytest.raises(Refused) as refusal:
        client.file(file.id)
    assert refusal.value.status == 404


def test_a_file_of_no_bytes_arrives_and_comes_back(client: Client, tmp_path: Path) -> None:
    (tmp_path / "empty.jsonl").write_bytes(b"")
    file = client.upload(tmp_path / "empty.jsonl", name="none.jsonl")
    assert (file.name, file.bytes) == ("none.jsonl", 0)
    assert client.download(file.id, tmp_path / "out.jsonl") == 0
    assert (tmp_path / "out.jsonl").read_bytes() == b""


def test_a_job_is_created_seen_listed_and_cancelled(client: Client, input_file: Path) -> None:
    file = client.upload(input_file)
    job = client.create_job(file.id, ENDPOINT, window="24h")
    assert (job.status, job.endpoint, job.input_file_id) == ("validating", ENDPOINT, file.id)
    assert not job.ended
    assert job.created_at is not None
    assert job.deadline == job.created_at + 24 * 3600
    assert client.job(job.id).id == job.id
    second = client.create_job(file.id, ENDPOINT)
    assert {job.id, second.id} <= {listed.id for listed in client.jobs()}
    assert len(list(client.jobs(limit=1))) == 1
    assert client.cancel(job.id).status in ("cancelling", "cancelled")


def test_metadata_comes_back_where_the_dialect_has_it(
    client: Client, dialect: Dialect, input_file: Path
) -> None:
    file = client.upload(input_file)
    if dialect == "openai":
        assert client.create_job(file.id, ENDPOINT, metadata={"a": "b"}).metadata == {"a": "b"}
        return
    with pytest.raises(ClientError, match="no metadata"):
        client.create_job(file.id, ENDPOINT, metadata={"a": "b"})


@pytest.mark.parametrize("suffix", ["", "/", "/v1", "/v1/", "/together", "/together/v1"])
def test_base_urls_are_taken_as_people_have_them(server: ApiServer, suffix: str) -> None:
    with client_of(server.base_url + suffix) as client:
        assert list(client.jobs(limit=1)) is not None
        with pytest.raises(Refused, match="batch_none"):
            client.job("batch_none")


def test_a_list_is_read_over_its_pages(server: ApiServer, input_file: Path) -> None:
    with client_of(server.base_url) as client:
        file = client.upload(input_file)
        made = [client.create_job(file.id, ENDPOINT).id for _ in range(103)]
        assert [job.id for job in client.jobs(limit=103)] == made[::-1]


def test_a_missing_key_and_a_wrong_one_are_told_apart(tmp_path: Path) -> None:
    with ApiServer(tmp_path / "keyed", api_keys=("the-right-key",)) as server:
        with client_of(server.base_url) as client, pytest.raises(Refused) as without:
            client.job("batch_1")
        with (
            client_of(server.base_url, api_key="wrong") as client,
            pytest.raises(Refused) as wrong,
        ):
            client.job("batch_1")
        with client_of(server.base_url, api_key=" the-right-key\n") as client:
            assert list(client.jobs()) == []
    assert (without.value.status, wrong.value.status) == (401, 401)
    assert without.value.hint == "Give a key with --api-key or OVERNIGHT_API_KEY."
    assert "does not take this key" in (wrong.value.hint or "")
    assert server.base_url in wrong.value.message
    assert wrong.value.request_id is not None
    assert wrong.value.request_id in wrong.value.message


def test_a_file_too_large_is_refused_with_the_limit(dialect: Dialect, tmp_path: Path) -> None:
    options = FilesOptions(secret=b"s" * 32, file_bytes_max=1000)
    (tmp_path / "in.jsonl").write_bytes(LINE * 100_000)
    with (
        ApiServer(tmp_path / "data", files=options) as server,
        client_of(server.base_url, dialect) as client,
        pytest.raises(Refused, match=r"1,?000") as refusal,
    ):
        client.upload(tmp_path / "in.jsonl")
    assert refusal.value.status == 413


def test_a_download_goes_on_where_it_was_cut(
    client: Client, input_file: Path, tmp_path: Path
) -> None:
    file = client.upload(input_file)
    target = tmp_path / "out.jsonl"
    had = 100_000
    part = tmp_path / f"out.jsonl.{file.id}.part"
    part.write_bytes(input_file.read_bytes()[:had])
    seen: list[int] = []
    client.download(file.id, target, on_bytes=lambda now, _: seen.append(now))
    assert seen[0] == had - 1
    assert target.read_bytes() == input_file.read_bytes()
    assert not part.exists()


def test_a_part_that_is_whole_already_is_only_put_into_place(
    client: Client, input_file: Path, tmp_path: Path
) -> None:
    file = client.upload(input_file)
    target = tmp_path / "out.jsonl"
    (tmp_path / f"out.jsonl.{file.id}.part").write_bytes(input_file.read_bytes())
    assert client.download(file.id, target) == file.bytes
    assert target.read_bytes() == input_file.read_bytes()


def test_a_part_longer_than_the_file_is_begun_anew(
    client: Client, input_file: Path, tmp_path: Path
) -> None:
    file = client.upload(input_file)
    target = tmp_path / "out.jsonl"
    (tmp_path / f"out.jsonl.{file.id}.part").write_bytes(input_file.read_bytes() * 2)
    assert client.download(file.id, target) == file.bytes
    assert target.read_bytes() == input_file.read_bytes()


def test_a_file_that_is_not_there_leaves_nothing_behind(client: Client, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="file-none"):
        client.download("file-none", tmp_path / "out.jsonl")
    assert list(tmp_path.iterdir()) == []
