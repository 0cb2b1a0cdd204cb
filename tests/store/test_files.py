from dataclasses import replace

import pytest

from overnight.domain.errors import InvalidRequest, NotFound
from overnight.domain.file import FileStatus, result_file_id
from overnight.domain.job import JobEvent
from overnight.store import files, jobs
from support.store import Store, new_file, new_job, start_job


def test_a_file_comes_back_as_it_was_added(store: Store) -> None:
    file = new_file(name="näme.jsonl", sha256="ab", expires_at=5.0, lines=7, bytes=50 * 1024**3)
    store.do(files.add, file)
    assert store.do(files.get, file.id) == file
    assert store.do(files.get, file.id, "local") == file


def test_a_file_of_somebody_else_is_not_found(store: Store) -> None:
    store.do(files.add, new_file())
    with pytest.raises(NotFound, match="No such File object: file-a") as caught:
        store.do(files.get, "file-a", "somebody else")
    assert (caught.value.param, caught.value.code) == ("id", "not_found")


def test_bytes_arrive_and_may_be_replaced(store: Store) -> None:
    pending = new_file(bytes=0, status=FileStatus.PENDING)
    store.do(files.add, pending)
    store.do(files.complete, "file-a", 12, "cd", b"blocks")
    assert store.do(files.digests, "file-a") == b"blocks"
    ready = replace(pending, bytes=12, sha256="cd", status=FileStatus.READY)
    assert store.do(files.get, "file-a") == ready
    store.do(files.reopen, "file-a")
    assert store.do(files.get, "file-a") == pending


def test_a_deleted_file_is_gone_for_everybody_but_the_janitor(store: Store) -> None:
    store.do(files.add, new_file(), b"blocks")
    store.do(files.forget, "file-a", 100.0)
    for attempt in (
        lambda: store.do(files.get, "file-a"),
        lambda: store.do(files.forget, "file-a", 101.0),
        lambda: store.do(files.complete, "file-a", 1, "ab", b""),
        lambda: store.do(files.reopen, "file-a"),
    ):
        with pytest.raises(NotFound):
            attempt()
    assert store.do(files.page, "local") == ([], False)
    assert store.do(files.purgeable, 699.9, 600.0) == []
    assert store.do(files.purgeable, 700.0, 600.0) == ["file-a"]
    store.do(files.purged, ["file-a"], 700.0)
    assert store.do(files.purgeable, 9_999.0, 600.0) == []
    assert store.rows("SELECT name, sha256 FROM files") == [("", None)]
    assert store.do(files.digests, "file-a") is None
    store.do(files.forget_tombstones, 700.0)
    assert store.rows("SELECT id FROM files") == [("file-a",)]
    store.do(files.forget_tombstones, 700.1)
    assert store.rows("SELECT id FROM files") == []


def test_only_tombstones_are_purged(store: Store) -> None:
    store.do(files.add, new_file())
    store.do(files.purged, ["file-a", "file-x"], 9.0)
    assert store.do(files.get, "file-a").id == "file-a"


def test_pages_go_on_after_a_file_that_was_deleted(store: Store) -> None:
    for file_id, created_at in [("f1", 1.0), ("f2", 2.0), ("f3", 2.0), ("f4", 3.0)]:
        store.do(files.add, new_file(file_id, created_at=created_at))
    store.do(files.add, new_file("f0", purpose="batch_output"))
    store.do(files.forget, "f3", 9.0)
    store.do(files.purged, ["f3"], 700.0)

    def page(
        after: str | None, limit: int | None, ascending: bool = False
    ) -> tuple[list[str], bool]:
        found, more = store.do(files.page, "local", "batch", after, limit, ascending)
        return [file.id for file in found], more

    assert page(None, None) == (["f4", "f2", "f1"], False)
    assert page("f3", 1) == (["f2"], True)
    assert page("f3", None, ascending=True) == (["f4"], False)
    assert page(None, 2, ascending=True) == (["f1", "f2"], True)
    found, _ = store.do(files.page, "local", None, None, None)
    assert [file.id for file in found] == ["f0", "f4", "f2", "f1"]
    with pytest.raises(InvalidRequest) as caught:
        page("f9", None)
    assert caught.value.param == "after"


def test_a_file_that_a_live_job_reads_is_in_use_and_does_not_expire(store: Store) -> None:
    store.do(files.add, new_file("file-in", expires_at=50.0))
    store.do(files.add, new_file("file-other", expires_at=50.0))
    store.do(files.add, new_file("file-kept"))
    start_job(store, "batch_a")
    assert store.do(files.reader_of, "file-in") == "batch_a"
    assert store.do(files.reader_of, "file-other") is None
    assert store.do(files.expired, 49.9) == []
    assert store.do(files.expired, 50.0) == ["file-other"]
    store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 60.0)
    assert store.do(files.reader_of, "file-in") == "batch_a"


def test_a_file_of_a_job_that_has_ended_is_free(store: Store) -> None:
    store.do(files.add, new_file("file-in", expires_at=50.0))
    store.do(jobs.create, new_job())
    assert store.do(files.reader_of, "file-in") == "batch_a"
    store.do(jobs.advance, "batch_a", JobEvent.CANCEL_REQUESTED, 60.0)
    assert store.do(files.reader_of, "file-in") is None
    assert store.do(files.expired, 60.0) == ["file-in"]


def test_uploads_whose_bytes_never_came_are_stale(store: Store) -> None:
    store.do(files.add, new_file("f1", created_at=10.0, status=FileStatus.PENDING))
    store.do(files.add, new_file("f2", created_at=20.0, status=FileStatus.PENDING))
    store.do(files.add, new_file("f3", created_at=10.0))
    assert store.do(files.stale_pending, 10.0) == []
    assert store.do(files.stale_pending, 20.0) == ["f1"]


def test_result_files_have_ids_of_their_job() -> None:
    ids = {
        result_file_id(job, kind) for job in ("batch_a", "batch_b") for kind in ("output", "error")
    }
    assert len(ids) == 4
    assert all(len(file_id) == len("file-") + 24 for file_id in ids)
    assert result_file_id("batch_a", "output") == result_file_id("batch_a", "output")
