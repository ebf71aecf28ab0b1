import gzip
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest

from service.prediction.ad_request import AdRequest
from service.training.click_log import TrainingError, split_by_time
from service.training.log_files import read_click_log
from service.training.simulation import simulate

_HEADER = "user_id,ad_id,device,placement,hour,day_of_week,click"
_ROW = "u1,007,mobile,site:top,23,6,1"


def _file(folder: Path, *lines: str, name: str = "log.csv") -> Path:
    path = folder / name
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_csv_becomes_requests_and_clicks(tmp_path: Path) -> None:
    log = read_click_log([_file(tmp_path, _HEADER, _ROW, "u2,8,tv,site:side,0,0,0")])

    assert log.requests() == [
        AdRequest("u1", "007", "mobile", "site:top", 23, 6),
        AdRequest("u2", "8", "tv", "site:side", 0, 0),
    ]
    assert log.click.tolist() == [True, False]
    assert log.timestamp is None
    assert log.utc_hour.tolist() == [23, 0]


def test_csv_gz_and_parquet_hold_the_same_log_as_csv(tmp_path: Path) -> None:
    plain = _file(tmp_path, _HEADER, _ROW, "5,6,tv,site,0,0,0")
    packed = tmp_path / "log.csv.gz"
    packed.write_bytes(gzip.compress(plain.read_bytes()))
    typed = tmp_path / "log.parquet"
    columns = {
        "user_id": ["u1", "5"],
        "ad_id": ["007", "6"],
        "device": pa.array(["mobile", "tv"]).dictionary_encode(),
        "placement": ["site:top", "site"],
        "hour": [23.0, 0.0],
        "day_of_week": pa.array([6, 0], pa.int8()),
        "click": [True, False],
        "ignored": [None, None],
    }
    pa_parquet.write_table(pa.table(columns), typed)

    logs = [read_click_log([path]) for path in (plain, packed, typed)]

    assert logs[0].requests() == logs[1].requests() == logs[2].requests()
    assert logs[0].click.tolist() == logs[1].click.tolist() == logs[2].click.tolist()


def test_numeric_ids_in_parquet_are_read_as_strings(tmp_path: Path) -> None:
    path = tmp_path / "log.parquet"
    pa_parquet.write_table(
        pa.table({name: [7] if name.endswith("_id") else [1] for name in _HEADER.split(",")}), path
    )

    assert read_click_log([path]).requests() == [AdRequest("7", "7", "1", "1", 1, 1)]


def test_several_files_are_one_log_in_order_of_time(tmp_path: Path) -> None:
    header = f"timestamp,{_HEADER}"
    later = _file(tmp_path, header, f"2026-01-02T05:30:00,{_ROW}", name="a.csv")
    earlier = _file(
        tmp_path, header, f"2026-01-01T22:00:00,{_ROW.replace('u1', 'u0')}", name="b.csv"
    )

    log = read_click_log([later, earlier])

    assert [request.user_id for request in log.requests()] == ["u0", "u1"]
    assert log.utc_hour.tolist() == [22, 5]


def test_timestamps_with_an_offset_are_taken_to_utc(tmp_path: Path) -> None:
    rows = [f"2026-01-01T00:30:00+02:00,{_ROW}", f"2026-01-01T00:30:00Z,{_ROW}"]

    log = read_click_log([_file(tmp_path, f"timestamp,{_HEADER}", *rows)])

    assert log.utc_hour.tolist() == [22, 0]


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        ([_HEADER.replace(",hour", "")], "lacks the column hour"),
        ([_HEADER], "has no rows"),
        ([_HEADER, _ROW, "u,a,d,p,24,0,1"], r"row 2 after the header: hour is '24'.* 0 to 23"),
        ([_HEADER, "u,a,d,p,-1,0,1"], "row 1 after the header: hour is '-1'"),
        ([_HEADER, "u,a,d,p,1.5,0,1"], "hour is '1.5'"),
        ([_HEADER, "u,a,d,p,0,7,1"], "day_of_week is '7'"),
        ([_HEADER, "u,a,d,p,0,0,2"], "click is '2'; it must be 0 or 1"),
        ([_HEADER, _ROW, ",a,d,p,0,0,1"], "row 2 after the header: user_id is None"),
        ([_HEADER, "u,a,d,p,0,0,"], "click is None; it must not be empty"),
        ([_HEADER, "u,a,d,p"], "Expected 7 columns, got 4"),
        ([f"{_HEADER},click", f"{_ROW},1"], "column click twice"),
        ([f"timestamp,{_HEADER}", f"yesterday,{_ROW}"], "column timestamp.*yesterday.*write UTC"),
        ([f"timestamp,{_HEADER}", f",{_ROW}"], "timestamp is None"),
    ],
)
def test_a_bad_file_is_refused_by_name_and_place(
    tmp_path: Path, lines: list[str], message: str
) -> None:
    path = _file(tmp_path, *lines)

    with pytest.raises(TrainingError, match=message) as refusal:
        read_click_log([path])

    assert str(path) in str(refusal.value)


def test_what_is_no_log_file_is_refused(tmp_path: Path) -> None:
    empty, torn = tmp_path / "empty.csv", tmp_path / "torn.parquet"
    empty.touch()
    torn.write_bytes(b"PAR1")
    sheet = _file(tmp_path, _HEADER, _ROW, name="log.xlsx")

    for path, message in (
        (tmp_path / "none.csv", "does not exist"),
        (empty, "cannot be read"),
        (torn, "cannot be read"),
        (sheet, "none of .csv"),
    ):
        with pytest.raises(TrainingError, match=message):
            read_click_log([path])


def test_files_with_and_without_time_cannot_be_put_in_order(tmp_path: Path) -> None:
    timed = _file(tmp_path, f"timestamp,{_HEADER}", f"2026-01-01T00:00:00,{_ROW}", name="a.csv")
    untimed = _file(tmp_path, _HEADER, _ROW, name="b.csv")

    with pytest.raises(TrainingError, match=r"b\.csv only one has the column timestamp"):
        read_click_log([timed, untimed])


def test_a_split_keeps_all_rows_and_their_order() -> None:
    log = simulate(1_000, seed=1).log

    earlier, later = split_by_time(log, later_share=0.25)

    assert (len(earlier), len(later)) == (750, 250)
    assert earlier.requests() + later.requests() == log.requests()


def test_a_log_whose_later_part_has_no_click_is_refused(tmp_path: Path) -> None:
    rows = ["u,a,d,p,0,0,1", *["u,a,d,p,0,0,0"] * 7]
    log = read_click_log([_file(tmp_path, _HEADER, *rows)])

    with pytest.raises(TrainingError, match="the last 2 rows of the log hold 0 clicks"):
        split_by_time(log, later_share=0.25)
