"""Downloads that go on where they were cut, and checksums of what is there."""

from __future__ import annotations

import logging
import os
import re
import time
from pathlib import Path
from typing import Any

import pooch
import requests

from lwdna.data.archives import archive_of
from lwdna.data.versions import Version, note_of, recorded, version_of, what_lacks
from lwdna.errors import DataError, LwdnaError, first_line
from lwdna.io.atomic import write_text
from lwdna.io.locks import lock
from lwdna.io.logs import progress

logger = logging.getLogger(__name__)

ATTEMPTS = 6
"""How often in a row a download may fail without getting anything."""

WAIT_S = 2.0
"""Wait before the second attempt, in seconds; doubled for every further one."""

TIMEOUT_S = 60.0
"""A server that sends nothing for so long has failed."""

_CHUNK = 2**16
_PARTIAL = 206
_NOTHING_MORE = 416
_GONE = (400, 401, 403, 404, 405, 410, 451)
"""Answers that will be the same in a minute."""

PathLike = str | os.PathLike[str]


def require(path: PathLike, versions: dict[str, Version]) -> None:
    """Refuse images that are not there, or an archive that is not what it was.

    An archive is compared with its checksum in the table or, where that has none, with the one
    that was noted when it was downloaded. An archive of neither is taken as it is.

    Raises:
        DataError: saying what is missing, from where it is had and where it goes; or that the
            archive has another checksum.
    """
    lacking = what_lacks(path, versions)
    if lacking is not None:
        raise DataError(lacking)
    version = version_of(path, versions)
    file = archive_of(path) or Path(path)
    if not file.is_file():
        return
    if version is not None and version.name == file.name and version.checksum:
        verify(file, version.checksum)
    elif noted := recorded(file):
        verify(file, f"sha256:{noted}")


def verify(path: PathLike, checksum: str) -> None:
    """Compare a file with its checksum, ``sha256:...`` or ``md5:...``.

    Raises:
        DataError: if the file is missing or differs.
    """
    algorithm, _, wanted = checksum.partition(":")
    try:
        found = pooch.file_hash(str(path), alg=algorithm)
    except OSError as error:
        raise DataError(f"'{path}' cannot be read: {error.strerror}; put it there.") from error
    if found != wanted:
        raise DataError(
            f"'{path}' has the {algorithm} checksum {found}, but {wanted} is expected; it is "
            "damaged or another file: delete it to have it downloaded again, or rename it if it "
            "is your own."
        )


def download(version: Version, output: PathLike) -> None:
    """Download the file of a dataset, whole and checked, or go on with a download that was cut.

    What has arrived lies beside ``output`` in a hidden file that ends in .part. A server that
    breaks off or is busy is asked again, with waits that double. What it sent before is kept if a
    checksum will tell in the end, or the server says that its file is still the same. The SHA-256
    is noted beside the file, as ``sha256sum`` does, and compared ever after.

    Args:
        version: a downloadable row of the table.
        output: the file to write; another process that downloads it is waited for.

    Raises:
        DataError: if the server does not have the file, keeps failing, or sends other bytes than
            the table or the note beside the file has; those are deleted.
        LwdnaError: if the file cannot be written.
    """
    output = Path(output)
    with lock(output.with_name(f".{output.name}.lock"), wait=True):
        if output.exists():
            logger.info("'%s' is already there.", output)
            return
        part = _Part(version, output.with_name(f".{output.name}.part"))
        try:
            part.fetch()
            digest = part.check(recorded(output))
            write_text(note_of(output), f"{digest}  {output.name}\n")
            part.path.replace(output)
        except OSError as error:
            raise LwdnaError(
                f"Cannot write '{output}': {error.strerror or error}; make the folder writable or "
                "free some space, and run again: the download goes on."
            ) from error
        part.forget()


class _Part:
    """The partial file of a download. Pooch writes to it what the server sends."""

    def __init__(self, version: Version, path: Path) -> None:
        self.path = path
        self._version = version
        self._validator = path.with_name(f"{path.name}.version")
        """Holds what the server calls the version of its file that has arrived in part."""

    def fetch(self) -> None:
        """Bring the file to its full length, with attempts and waits.

        Raises:
            DataError: if the server does not have it or keeps failing.
        """
        url = self._version.url
        failures = 0
        while True:
            before = self._size()
            try:
                self._request()
                return
            except requests.RequestException as error:
                status = getattr(error.response, "status_code", None)
                if status in _GONE:
                    raise DataError(
                        f"{url} cannot be had (the server answers {status}); get the file in "
                        "another way and put it where the configuration says."
                    ) from error
                failures = 1 if self._size() > before else failures + 1
                reason = first_line(error)
                if "Max retries exceeded" in reason:  # urllib3's words, and addresses of objects
                    reason = "the server cannot be reached"
            if failures >= ATTEMPTS:
                raise DataError(
                    f"{url} could not be downloaded ({reason}); see that there is a connection to "
                    "the internet and run again (what has arrived is kept), or get the file in "
                    "another way and put it where the configuration says."
                )
            wait = WAIT_S * 2 ** (failures - 1)
            logger.warning("%s: %s; going on in %g s.", url, reason, wait)
            time.sleep(wait)

    def check(self, noted: str | None) -> str:
        """The SHA-256 of the file, if it is what the table says or the note of an earlier time.

        Raises:
            DataError: if it is not; it is deleted.
        """
        version, size = self._version, self._size()
        digest = pooch.file_hash(str(self.path), alg="sha256")
        wanted = version.checksum or (f"sha256:{noted}" if noted else "")
        algorithm, _, expected = wanted.partition(":")
        found = pooch.file_hash(str(self.path), alg=algorithm) if wanted else ""
        if found != expected or size != (version.bytes or size):
            self.path.unlink()
            self.forget()
            raise DataError(
                f"{version.url} sent {size:,} bytes with the {algorithm or 'sha256'} checksum "
                f"{found or digest}, but {f'{version.bytes:,}' if version.bytes else 'as many'} "
                f"bytes with {expected or 'any'} are expected; they were deleted: run again, and "
                "if the file was changed for good, get it in another way."
            )
        with self.path.open("rb") as file:
            os.fsync(file.fileno())
        return str(digest)

    def forget(self) -> None:
        """Delete what was noted about the server's file."""
        self._validator.unlink(missing_ok=True)

    def _size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def _request(self) -> None:
        """Ask once for what is missing.

        Raises:
            requests.RequestException: if the server fails, or ends before the file does.
        """
        total = self._version.bytes
        with self.path.open("ab") as self._file:
            have = self._file.tell()
            if have and have == total:
                return
            fetch = pooch.HTTPDownloader(
                chunk_size=_CHUNK,
                timeout=TIMEOUT_S,
                headers=self._headers(have),
                hooks={"response": self._answered},
            )
            self._total = total
            self._bar = progress(
                total=total, initial=have, description=self._version.name, unit="B", scale=True
            )
            with self._bar:
                try:
                    fetch(self._version.url, self, None)
                except requests.HTTPError as error:
                    if getattr(error.response, "status_code", None) != _NOTHING_MORE:
                        raise
                    if self._total != self._file.tell():
                        self._file.truncate(0)
                        raise
            if self._total is not None and self._file.tell() < self._total:
                raise requests.ConnectionError(
                    f"it ended after {self._file.tell():,} of {self._total:,} bytes"
                )

    def _headers(self, have: int) -> dict[str, str]:
        """For a request of what follows the first ``have`` bytes, if they may be used."""
        # The bytes as they are: some servers would unpack a .tar.gz on the way.
        headers = {"Accept-Encoding": "identity"}
        if have and self._validator.is_file():
            headers |= {"If-Range": self._validator.read_text(encoding="latin-1")}
        elif not self._version.checksum:
            return headers  # nothing would tell if the file had been changed in the meantime
        return headers | ({"Range": f"bytes={have}-"} if have else {})

    def _answered(self, response: requests.Response, **_: Any) -> None:
        """Called before what the server sends is written: where does it belong?"""
        headers = response.headers
        sent = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+)", headers.get("Content-Range", ""))
        if response.status_code in (_PARTIAL, _NOTHING_MORE):
            if sent is not None:
                self._total = int(sent[2])
            if response.status_code == _PARTIAL and (
                sent is None or int(sent[1] or -1) != self._file.tell()
            ):
                self._file.truncate(0)
                raise requests.ConnectionError("it sent another part than it was asked for")
        elif response.ok and not response.is_redirect:
            # The whole file: the server cannot send parts, or its file has changed.
            self._file.truncate(0)
            self._bar.reset(self._version.bytes)
            length = headers.get("Content-Length", "")
            self._total = self._version.bytes or (int(length) if length.isdecimal() else None)
            etag = headers.get("ETag", "W/")
            validator = headers.get("Last-Modified", "") if etag.startswith("W/") else etag
            if validator:
                self._validator.write_text(validator, encoding="latin-1")
            else:
                self.forget()

    def write(self, data: bytes) -> None:
        """Take what has arrived."""
        self._file.write(data)
        self._bar.update(len(data))

    def flush(self) -> None:
        """Do nothing: pooch asks for it after every chunk."""
