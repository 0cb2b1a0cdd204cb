from dataclasses import replace

import pytest

from overnight.domain.errors import Conflict, NotFound
from overnight.domain.upload import Part, Upload, UploadStatus
from overnight.store import uploads
from support.store import Store

UPLOAD = Upload(
    id="upload_a",
    tenant="local",
    file_id="file-a",
    name="näme.jsonl",
    purpose="batch",
    bytes=50 * 1024**3,
    created_at=100.0,
    expires_at=200.0,
    parts_max=3,
    checksum="ab",
    lifetime_seconds=3_600,
)


def part(part_id: str, number: int | None = None, size: int = 10) -> Part:
    return Part(part_id, UPLOAD.id, size, "cd", 150.0, number)


def test_an_upload_comes_back_as_it_was_added(store: Store) -> None:
    store.do(uploads.add, UPLOAD)
    assert store.do(uploads.get, UPLOAD.id, "local") == UPLOAD
    for upload_id, tenant in ((UPLOAD.id, "somebody else"), ("upload_b", None)):
        with pytest.raises(NotFound):
            store.do(uploads.get, upload_id, tenant)


def test_parts_with_a_number_replace_each_other_and_others_do_not(store: Store) -> None:
    store.do(uploads.add, UPLOAD)
    assert store.do(uploads.add_part, part("p1", 1)) == []
    assert store.do(uploads.add_part, part("p2", 1, size=7)) == ["p1"]
    assert store.do(uploads.add_part, part("p3", 2)) == []
    assert store.do(uploads.add_part, part("p4")) == []
    assert store.do(uploads.add_part, part("p5")) == []
    assert [each.id for each in store.do(uploads.parts, UPLOAD.id)] == ["p2", "p3", "p4", "p5"]
    assert store.do(uploads.arrived, UPLOAD.id) == (4, 37)
    assert store.do(uploads.arrived, "upload_b") == (0, 0)


def test_room_is_counted_without_the_part_that_goes(store: Store) -> None:
    store.do(uploads.add, UPLOAD)
    store.do(uploads.add_part, part("p1", 1))
    store.do(uploads.add_part, part("p2", 2))
    assert store.do(uploads.arrived, UPLOAD.id, besides=2) == (1, 10)
    assert store.do(uploads.arrived, UPLOAD.id, besides=3) == (2, 20)


def test_of_several_ends_only_one_happens(store: Store) -> None:
    store.do(uploads.add, UPLOAD)
    with pytest.raises(Conflict):
        store.do(uploads.complete, UPLOAD.id)
    store.do(uploads.settle_order, UPLOAD.id, ["p2", "p1"], "ef")
    joining = replace(UPLOAD, status=UploadStatus.JOINING, part_ids=("p2", "p1"), sha256="ef")
    assert store.do(uploads.get, UPLOAD.id) == joining
    for refused in (
        lambda: store.do(uploads.cancel, UPLOAD.id),
        lambda: store.do(uploads.settle_order, UPLOAD.id, ["p1"], "ef"),
    ):
        with pytest.raises(Conflict):
            refused()
    store.do(uploads.complete, UPLOAD.id)
    assert store.do(uploads.get, UPLOAD.id) == replace(joining, status=UploadStatus.COMPLETED)


def test_time_ends_uploads_but_gives_joins_a_chance(store: Store) -> None:
    store.do(uploads.add, UPLOAD)
    store.do(uploads.add, replace(UPLOAD, id="upload_b"))
    store.do(uploads.settle_order, "upload_b", [], "ef")

    def statuses(now: float, joining_before: float) -> list[str]:
        store.do(uploads.expire, now, joining_before)
        return [store.do(uploads.get, one).status.value for one in ("upload_a", "upload_b")]

    assert statuses(199.9, 0.0) == ["pending", "joining"]
    assert statuses(200.0, 0.0) == ["expired", "joining"]
    assert statuses(900.0, 200.0) == ["expired", "expired"]


def test_what_has_ended_is_cleared_and_later_forgotten(store: Store) -> None:
    store.do(uploads.add, UPLOAD)
    store.do(uploads.add_part, part("p1"))
    store.do(uploads.add_part, part("p2"))
    assert store.do(uploads.clearable) == []
    assert store.do(uploads.unended) == {UPLOAD.id}
    store.do(uploads.cancel, UPLOAD.id)
    assert store.do(uploads.unended) == set()
    assert store.do(uploads.clearable) == [UPLOAD.id]
    store.do(uploads.forget_ended, 300.0)
    store.do(uploads.cleared, [UPLOAD.id])
    assert store.do(uploads.clearable) == []
    store.do(uploads.forget_ended, 199.9)
    assert store.do(uploads.get, UPLOAD.id).status is UploadStatus.CANCELLED
    store.do(uploads.forget_ended, 200.0)
    with pytest.raises(NotFound):
        store.do(uploads.get, UPLOAD.id)
