"""Which folders are refused, and how the lock is held."""

import os
from pathlib import Path

import pytest

from overnight.domain.errors import ConfigurationError
from overnight.supervisor.folder import open_folder, refuse_network_file_system

ROOT = "/dev/sda1 / ext4 rw 0 0\n"


@pytest.fixture
def mounts(tmp_path: Path) -> Path:
    return tmp_path / "mounts"


@pytest.mark.parametrize(
    "line",
    [
        "server:/export /data nfs4 rw,vers=4.2 0 0",
        "//server/share /data cifs rw 0 0",
        "user@host: /data fuse.sshfs rw 0 0",
        r"C:\134 /data 9p rw,aname=drvfs;path=C:\134,trans=fd 0 0",
        "server / nfs rw 0 0",
    ],
)
def test_network_file_systems_are_refused(mounts: Path, line: str) -> None:
    mounts.write_text(ROOT + line + "\n")
    with pytest.raises(ConfigurationError, match="network file system") as caught:
        refuse_network_file_system(Path("/data/overnight"), mounts)
    assert caught.value.__notes__ == ["Choose a folder on a local disk with --data-dir."]


@pytest.mark.parametrize(
    "lines",
    [
        "server:/export /dat nfs4 rw 0 0",
        "server:/export /data/other nfs4 rw 0 0",
        "server:/export /data nfs4 rw 0 0\n/dev/sdb1 /data ext4 rw 0 0",
        "server:/export /data nfs4 rw 0 0\n/dev/sdb1 /data/overnight xfs rw 0 0",
        "sandbox / 9p rw,trans=fd,rfdno=4 0 0",
        "one:two /data fuse.mergerfs rw 0 0",
    ],
)
def test_local_file_systems_are_not(mounts: Path, lines: str) -> None:
    mounts.write_text(ROOT + lines + "\n")
    refuse_network_file_system(Path("/data/overnight"), mounts)


def test_mount_points_with_spaces(mounts: Path) -> None:
    mounts.write_text(ROOT + r"server:/export /my\040data nfs rw 0 0" + "\n")
    with pytest.raises(ConfigurationError):
        refuse_network_file_system(Path("/my data/overnight"), mounts)


def test_without_a_table_nothing_is_refused(tmp_path: Path) -> None:
    refuse_network_file_system(tmp_path, tmp_path / "missing")


def test_folder_is_made_private(tmp_path: Path) -> None:
    folder = tmp_path / "a" / "b"
    os.close(open_folder(folder))
    assert folder.stat().st_mode & 0o777 == 0o700


def test_a_file_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "data").touch()
    with pytest.raises(ConfigurationError, match="is a file; name a folder"):
        open_folder(tmp_path / "data")
