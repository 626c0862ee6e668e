"""Atomic writes: whole or not at all."""

import errno
import fcntl
import os
import resource
import shutil
import stat
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from lwdna.errors import LwdnaError
from lwdna.io.atomic import atomic, atomic_folder, write_text
from lwdna.io.locks import hold


def names(folder):
    return sorted(p.name for p in folder.iterdir())


@contextmanager
def full_disk():
    """Let no file grow beyond 4 KiB; only around the write, for pytest writes files too."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_content_appears_at_the_end_and_whole(tmp_path):
    target = tmp_path / "new" / "folders" / "table.csv"
    with atomic(target) as temporary:
        assert temporary.parent == target.parent
        assert temporary.suffix == ".csv"
        temporary.write_text("a,b\n", encoding="utf-8")
        assert not target.exists()
    assert target.read_text(encoding="utf-8") == "a,b\n"
    assert names(target.parent) == ["table.csv"]


def test_the_old_file_stays_until_the_new_one_is_whole(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "old")
    with atomic(target) as temporary:
        temporary.write_text("new", encoding="utf-8")
        assert target.read_text(encoding="utf-8") == "old"
    assert target.read_text(encoding="utf-8") == "new"


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt, SystemExit])
def test_an_exception_leaves_the_old_file_and_nothing_else(tmp_path, error):
    target = tmp_path / "x.txt"
    write_text(target, "old")

    def half():
        with atomic(target) as temporary:
            temporary.write_text("ha", encoding="utf-8")
            raise error

    with pytest.raises(error):
        half()
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["x.txt"]


def test_text_is_utf8_with_unix_line_ends(tmp_path):
    write_text(tmp_path / "x", "é\n≥\n")
    assert (tmp_path / "x").read_bytes() == "é\n≥\n".encode()


def test_permissions_are_those_of_the_umask(tmp_path):
    before = os.umask(0o027)
    try:
        write_text(tmp_path / "x", "")
        assert os.umask(0o027) == 0o027  # left as it was
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "x").stat().st_mode) == 0o640


def test_full_disk_is_one_sentence_and_keeps_the_old_file(tmp_path):
    target = tmp_path / "x.txt"
    write_text(target, "old")
    message = r"Cannot write '.*x\.txt': .*free some space"
    with pytest.raises(LwdnaError, match=message), full_disk():
        write_text(target, "n" * 100_000)
    assert target.read_text(encoding="utf-8") == "old"
    assert names(tmp_path) == ["x.txt"]


@pytest.mark.parametrize("below", ["x", "a/x", "a/b/c/x"])
def test_path_below_a_file(tmp_path, below):
    (tmp_path / "file").write_text("old", encoding="utf-8")
    with pytest.raises(LwdnaError, match="Cannot write"):
        write_text(tmp_path / "file" / below, "new")
    assert (tmp_path / "file").read_text(encoding="utf-8") == "old"


def test_target_is_a_folder(tmp_path):
    (tmp_path / "x" / "y").mkdir(parents=True)
    with pytest.raises(LwdnaError, match="directory"):
        write_text(tmp_path / "x", "new")
    assert names(tmp_path) == ["x"]


@pytest.mark.parametrize("below", ["x", "a/x", "a/b/c/x"])
def test_folder_that_is_not_writable(tmp_path, below):
    """As the superuser, for whom every folder is writable, a helper of another user tries."""
    folder = tmp_path / "closed"
    folder.mkdir()
    folder.chmod(0o555)
    if os.geteuid() != 0:
        with pytest.raises(LwdnaError, match=r"Cannot write.*make the folder writable"):
            write_text(folder / below, "new")
        return
    script = (
        "import os, sys; sys.path.insert(0, sys.argv[1]); from lwdna.io.atomic import write_text\n"
        "from lwdna.errors import LwdnaError\n"
        "os.chdir(sys.argv[2]); os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        "try: write_text(sys.argv[3], 'new')\n"
        "except LwdnaError as error: print(error)\n"
    )
    root = str(Path(__file__).parents[2])
    done = subprocess.run(
        [sys.executable, "-c", script, root, str(folder), below],
        capture_output=True,
        text=True,
        check=False,
    )
    assert "Traceback" not in done.stderr, done.stderr
    assert "make the folder writable" in done.stdout


def test_an_error_about_another_file_is_not_blamed_on_the_target(tmp_path):
    with pytest.raises(FileNotFoundError), atomic(tmp_path / "x"):
        (tmp_path / "source").read_bytes()
    assert names(tmp_path) == []


def test_an_error_without_a_file_name_is_the_targets(tmp_path):
    with pytest.raises(LwdnaError, match="No space left"), atomic(tmp_path / "x"):
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path) == []


def test_lock_is_held_until_its_process_ends(tmp_path):
    script = (
        "import sys; sys.path.insert(0, sys.argv[1]); from lwdna.io.locks import hold\n"
        "hold(sys.argv[2]); print('held', flush=True); sys.stdin.read()\n"
    )
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(tmp_path / "lock")]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LwdnaError, match=f"process {holder.pid} on "):
            hold(tmp_path / "lock")
        holder.kill()
        holder.wait()
    hold(tmp_path / "lock")
    # The same process asks again: it holds the lock already.
    hold(tmp_path / "lock")


WRITER = """
import sys
sys.path.insert(0, sys.argv[1])
from lwdna.io import atomic as files
with getattr(files, sys.argv[2])(sys.argv[3]) as temporary:
    # As a library does that is given the name: it opens the file and closes it.
    file = temporary / "part" if temporary.is_dir() else temporary
    file.write_text("half")
    print("open", flush=True)
    sys.stdin.read()
"""
KINDS = ["atomic", "atomic_folder"]


@contextmanager
def writer(kind, target):
    """A process that is in the middle of writing a file or folder."""
    command = [sys.executable, "-c", WRITER, str(Path(__file__).parents[2]), kind, str(target)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "open\n"
        try:
            yield process
        finally:
            process.kill()


def write(kind, target):
    """Write a file or folder, whatever is there."""
    if kind == "atomic":
        write_text(target, "whole")
    else:
        shutil.rmtree(target, ignore_errors=True)
        with atomic_folder(target) as folder:
            (folder / "whole").touch()


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_living_process_still_writes_is_left_alone(tmp_path, kind):
    target = tmp_path / "store.h5"
    with writer(kind, target) as process:
        halves = [path for path in tmp_path.rglob("*") if path.is_file()]
        write(kind, target)
        write(kind, target)
        assert halves and all(path.exists() for path in halves)
        shutil.rmtree(target) if target.is_dir() else target.unlink()
        process.communicate()
        assert process.returncode == 0
    assert ((target / "part") if target.is_dir() else target).read_text() == "half"
    assert names(tmp_path) == ["store.h5"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", ["store.h5", "store", "a.tmp", ".hidden", "a-lock.h5"])
def test_what_a_killed_writer_left_is_removed(tmp_path, kind, name):
    target = tmp_path / name
    with writer(kind, target):
        pass
    assert names(tmp_path)
    write(kind, target)
    assert names(tmp_path) == [name]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_writer_left_is_removed_before_its_parent_has_waited_for_it(tmp_path, kind):
    """A zombie has a process id still, for good where nobody reaps."""
    target = tmp_path / "store.h5"
    with writer(kind, target) as process:
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        os.kill(process.pid, 0)  # it can be signalled, as if it were alive
        write(kind, target)
        assert names(tmp_path) == ["store.h5"]


@pytest.mark.parametrize("kind", KINDS)
def test_what_a_killed_writer_left_is_removed_though_its_process_id_is_used_again(tmp_path, kind):
    target = tmp_path / "store.h5"
    with writer(kind, target) as process:
        pass
    for path in tmp_path.iterdir():  # now it is that of the process which tests
        assert f"-{process.pid}-" in path.name
        path.rename(path.with_name(path.name.replace(f"-{process.pid}-", f"-{os.getpid()}-")))
    write(kind, target)
    assert names(tmp_path) == ["store.h5"]


def test_what_a_version_without_locks_left_is_removed(tmp_path):
    (tmp_path / f".store.host-{os.getpid()}-a1b2c3d4.tmp.h5").touch()
    (tmp_path / f".store.host-{os.getpid()}-abcd_e_f.tmp.h5").mkdir()
    write_text(tmp_path / "store.h5", "whole")
    assert names(tmp_path) == ["store.h5"]


def test_files_of_others_that_look_alike_are_left_alone(tmp_path):
    others = [".store.tmp.h5", ".store.host-1-a.tmp.csv", ".stores.host-1-a.tmp.h5", "store.tmp.h5"]
    for name in others:
        (tmp_path / name).touch()
    write_text(tmp_path / "store.h5", "whole")
    assert names(tmp_path) == sorted([*others, "store.h5"])


def test_a_temporary_file_may_be_taken_for_a_leftover_before_it_is_locked(tmp_path, monkeypatch):
    """Another process comes between the making of the lock's file and its locking, twice."""
    target, others = tmp_path / "x", []

    def lockf(*arguments, at=fcntl.lockf):
        if len(others) < 2:
            done = subprocess.run([*other, str(target)], check=True, stdin=subprocess.DEVNULL)
            others.append(done)
            assert names(tmp_path) == ["x"], "it did not take it for a leftover"
        at(*arguments)

    other = [sys.executable, "-c", WRITER, str(Path(__file__).parents[2]), "atomic"]
    monkeypatch.setattr(fcntl, "lockf", lockf)
    write_text(target, "of this process")
    assert len(others) == 2 and target.read_text() == "of this process"
    assert names(tmp_path) == ["x"]


def test_without_locks_files_are_written_and_nothing_of_others_is_removed(tmp_path, monkeypatch):
    def lockf(*_):
        raise OSError(errno.ENOLCK, "No locks available")

    with writer("atomic", tmp_path / "x"):
        before = names(tmp_path)
        monkeypatch.setattr(fcntl, "lockf", lockf)
        write_text(tmp_path / "x", "whole")
        assert names(tmp_path) == [*before, "x"]


def test_many_may_write_the_same_file_at_once(tmp_path):
    """Threads of one process, and processes."""
    target = tmp_path / "x.txt"

    def write_often():
        for _ in range(100):
            write_text(target, "whole")

    script = "import sys; sys.path.insert(0, sys.argv[1]); from lwdna.io.atomic import write_text\n"
    script += "for _ in range(100): write_text(sys.argv[2], 'whole')"
    command = [sys.executable, "-c", script, str(Path(__file__).parents[2]), str(target)]
    processes = [subprocess.Popen(command) for _ in range(2)]
    with ThreadPoolExecutor() as pool:
        for done in [pool.submit(write_often) for _ in range(3)]:
            done.result()
    assert [process.wait() for process in processes] == [0, 0]
    assert target.read_text() == "whole" and names(tmp_path) == ["x.txt"]


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "images"
    with pytest.raises(KeyError), atomic_folder(target) as folder:
        (folder / "a").touch()
        raise KeyError
    assert list(tmp_path.iterdir()) == []
    # Two runs at a time, as when only the main process of one was killed: each has its own.
    with pytest.raises(LwdnaError), atomic_folder(target) as first:
        with atomic_folder(target) as second:
            (first / "a").touch()
            (second / "b").touch()
        assert names(target) == ["b"]
    assert names(tmp_path) == ["images"] and names(target) == ["b"]


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images/precious").touch()
    with pytest.raises(LwdnaError, match="delete it and run"), atomic_folder(tmp_path / "images"):
        pass
    assert [path.name for path in (tmp_path / "images").iterdir()] == ["precious"]
