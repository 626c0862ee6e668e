"""CSV files with a checksum: ordinary for others, and any change of them is noticed."""

import csv
import io

import pandas as pd
import pytest

from lwdna.errors import DataError
from lwdna.io.checksummed_csv import read_csv, write_csv

TEXT = 'name,psnr_db,note\nDnCNN,24.5,"a, ""b""\nc"\nU-Net,,é\n'


def test_what_is_written_is_read_and_others_read_it_too(tmp_path):
    path = tmp_path / "x.csv"
    write_csv(path, TEXT)
    assert read_csv(path) == TEXT
    frame = pd.read_csv(path)
    assert list(frame) == ["name", "psnr_db", "note", "crc32"]
    pd.testing.assert_frame_equal(frame.iloc[:, :3], pd.read_csv(io.StringIO(TEXT)))


def test_any_changed_byte_is_noticed_or_means_nothing(tmp_path):
    path = tmp_path / "x.csv"
    write_csv(path, TEXT)
    whole = path.read_bytes()
    for at in range(len(whole)):
        for flip in (1, 2, 4, 8, 16, 128):
            path.write_bytes(whole[:at] + bytes([whole[at] ^ flip]) + whole[at + 1 :])
            try:
                text = read_csv(path)
            except DataError as error:
                assert "x.csv" in str(error) and "delete it and run again" in str(error)
            else:
                assert text == TEXT


def test_every_truncation_is_noticed(tmp_path):
    path = tmp_path / "x.csv"
    write_csv(path, TEXT)
    whole = path.read_bytes()
    for length in range(len(whole) - 1):  # the last line end means nothing
        path.write_bytes(whole[:length])
        with pytest.raises(DataError, match=r"x\.csv"):
            read_csv(path)


@pytest.mark.parametrize(
    "change", [lambda r: r[:-1], lambda r: [r[0], r[2], r[1]], lambda r: r * 2]
)
def test_rows_that_are_missing_or_moved_are_noticed(tmp_path, change):
    path = tmp_path / "x.csv"
    write_csv(path, TEXT)
    rows = list(csv.reader(io.StringIO(path.read_text())))
    with path.open("w", newline="") as file:
        csv.writer(file).writerows(change(rows))
    with pytest.raises(DataError, match="changed since it was written"):
        read_csv(path)


def test_a_table_of_another_program_is_refused(tmp_path):
    (tmp_path / "x.csv").write_text(TEXT)
    with pytest.raises(DataError, match="its last column is not 'crc32'"):
        read_csv(tmp_path / "x.csv")
    with pytest.raises(DataError, match="No such file"):
        read_csv(tmp_path / "y.csv")
