from contextlib import closing
from pathlib import Path

import pytest

from overnight.seams import SystemDisk
from overnight.store.blobs import Blobs


@pytest.fixture
def blobs(tmp_path: Path) -> Blobs:
    made = Blobs(tmp_path, SystemDisk())
    made.make_folders()
    return made


def write(path: Path) -> None:
    with closing(SystemDisk().create(path)) as file:
        file.append([b"x"])


def test_everything_lies_apart(blobs: Blobs, tmp_path: Path) -> None:
    paths = {
        blobs.file_path("same"),
        blobs.incoming_path("same"),
        blobs.job_folder("same"),
        blobs.plan_path("same"),
        blobs.segments_folder("same"),
    }
    assert len(paths) == 5
    assert all(path.is_relative_to(tmp_path) for path in paths)
    assert blobs.job_folder("same").parent == blobs.jobs_folder


@pytest.mark.parametrize("name", ["", "..", ".", "a/b", "../a", "a\0b", "a\n", "x" * 201, "-a"])
def test_a_name_that_could_leave_its_folder_is_no_path(blobs: Blobs, name: str) -> None:
    for path in (blobs.file_path, blobs.incoming_path, blobs.job_folder):
        with pytest.raises(ValueError, match="can not name a blob"):
            path(name)


def test_removing_a_job_leaves_its_result_files(blobs: Blobs) -> None:
    SystemDisk().make_folder(blobs.segments_folder("batch_a"))
    write(blobs.plan_path("batch_a"))
    write(blobs.segments_folder("batch_a") / "0.1")
    write(blobs.file_path("file-a"))
    blobs.remove_job("batch_a")
    assert not blobs.job_folder("batch_a").exists()
    assert blobs.file_path("file-a").exists()
    blobs.remove_file("file-a")
    assert not blobs.file_path("file-a").exists()


def test_what_is_gone_may_be_removed_again(blobs: Blobs) -> None:
    blobs.remove_job("batch_a")
    blobs.remove_file("file-a")
