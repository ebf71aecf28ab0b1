from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal
from numpy.typing import NDArray

from service.monitoring.baseline import Baseline
from service.prediction.ad_request import AdRequest
from service.scoring.column_encoding import ColumnEncoder
from service.scoring.log_chunks import ROWS_PER_CHUNK, LogChunks
from service.scoring.score import Scorer, Totals
from service.scoring.whole_file import written_whole
from service.training.baseline import baseline_of
from service.training.behaviour import Behaviour
from service.training.click_log import ClickLog, IdColumn, Impressions, LogError
from service.training.encoding import fit_encoder
from service.training.simulation import simulate

_KNOWN = simulate(20_000, seed=1).log
_ENCODER = fit_encoder(_KNOWN)
_CREATED = datetime(2026, 11, 23, tzinfo=UTC)

_IDS = (
    *("", ":", "a", "site1", "site1:", ":top", "site1:top:top", "mobile", "(other)", "(unseen)"),
    *("u0000001", "c001-0001", "c001", "0", "007", "\x00"),
    *("é:ü", "e\u0301:x", "日本語のサイト:上", "🙂🙂🙂🙂🙂🙂"),
)
_ids = st.sampled_from(_IDS) | st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
_requests = st.builds(AdRequest, _ids, _ids, _ids, _ids, st.integers(0, 23), st.integers(0, 6))


def columns_of(requests: list[AdRequest]) -> Impressions:
    """Put requests into columns, each value once and in an order of no meaning."""

    def ids(values: list[str]) -> IdColumn:
        distinct = sorted(set(values), reverse=True)
        return IdColumn(np.array([distinct.index(value) for value in values]), distinct)

    return Impressions(
        user_id=ids([r.user_id for r in requests]),
        ad_id=ids([r.ad_id for r in requests]),
        device=ids([r.device for r in requests]),
        placement=ids([r.placement for r in requests]),
        hour=np.array([r.hour for r in requests]),
        day_of_week=np.array([r.day_of_week for r in requests]),
    )


def table_of(log: Impressions, **others: object) -> pa.Table:
    """Spell a log out as the columns of a file."""
    ids = {n: getattr(log, n).to_list() for n in ("user_id", "ad_id", "device", "placement")}
    return pa.table({**ids, "hour": log.hour, "day_of_week": log.day_of_week, **others})


def sum_of_features(features: NDArray[np.float32]) -> NDArray[np.float64]:
    """Stand in for a model: any function of a row."""
    probabilities: NDArray[np.float64] = 1 / (1 + np.exp(-features.sum(axis=1, dtype=np.float64)))
    return probabilities


@given(st.lists(_requests, min_size=1, max_size=30))
def test_columns_are_encoded_as_serving_encodes_rows_to_the_last_bit(
    requests: list[AdRequest],
) -> None:
    encoded = ColumnEncoder(_ENCODER).encode(columns_of(requests))

    assert encoded.tobytes() == _ENCODER.encode(requests).tobytes()


def test_a_simulated_log_is_encoded_as_serving_encodes_it_to_the_last_bit() -> None:
    tomorrow = simulate(20_000, seed=2).log
    mixed = tomorrow[5_000:15_000]

    encoded = ColumnEncoder(_ENCODER).encode(mixed)

    assert encoded.tobytes() == _ENCODER.encode(mixed.requests()).tobytes()


@given(st.lists(_requests, min_size=1, max_size=30))
def test_values_are_counted_under_the_names_that_serving_uses(requests: list[AdRequest]) -> None:
    indices = ColumnEncoder(_ENCODER).value_indices(columns_of(requests))

    assert indices.tolist() == _ENCODER.value_indices(requests).tolist()


def test_scores_come_in_the_order_of_the_rows_over_chunks_and_files(tmp_path: Path) -> None:
    first, second = simulate(2 * ROWS_PER_CHUNK + 7, seed=3).log, simulate(5_000, seed=4).log
    paths = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    pa_parquet.write_table(table_of(first, click=first.click), paths[0], row_group_size=70_000)
    pa_parquet.write_table(table_of(second, click=second.click), paths[1])
    log = LogChunks.open(paths, with_time=False)
    scorer = Scorer(_ENCODER, sum_of_features, with_behaviour=False)

    scored = list(scorer.score_all(log, threads=3))

    assert log.rows == len(first) + len(second)
    assert max(len(chunk.predictions) for chunk in scored) <= ROWS_PER_CHUNK
    requests = first.requests() + second.requests()
    assert_array_equal(
        np.concatenate([chunk.predictions for chunk in scored]),
        sum_of_features(_ENCODER.encode(requests)),
    )
    clicks = [chunk.clicks for chunk in scored if chunk.clicks is not None]
    assert_array_equal(np.concatenate(clicks), np.concatenate([first.click, second.click]))


@pytest.mark.parametrize("dated", [True, False])
def test_the_baseline_of_pieces_is_the_one_that_training_makes_of_the_whole(dated: bool) -> None:  # noqa: FBT001
    log = simulate(6_000, seed=5).log
    if not dated:
        log = ClickLog(
            user_id=log.user_id,
            ad_id=log.ad_id,
            device=log.device,
            placement=log.placement,
            hour=log.hour,
            day_of_week=log.day_of_week,
            click=log.click,
        )
    predictions = sum_of_features(_ENCODER.encode(log.requests()))
    whole = baseline_of(
        predictions,
        log,
        judged=_ENCODER,
        shipped=_ENCODER,
        model_name="xgboost",
        model_version="1",
        created_at=_CREATED,
    )
    pieces = [
        Behaviour.of(
            predictions[start:stop],
            log[start:stop],
            ColumnEncoder(_ENCODER).value_indices(log[start:stop]),
            _ENCODER.vocabularies,
        )
        for start, stop in pairwise([0, 1, 1_000, 4_500, 6_000])
    ]
    totals = pieces[3] + pieces[0] + pieces[2] + pieces[1]  # files need not be in order of time

    summed = totals.baseline(
        model_name="xgboost", model_version="1", created_at=_CREATED, created_by="a test", note=""
    )

    assert_same_behaviour(summed, whole)


def assert_same_behaviour(one: Baseline, other: Baseline) -> None:
    assert one.observations == other.observations
    assert one.mean_prediction == pytest.approx(other.mean_prediction, rel=1e-12)
    assert one.std_prediction == pytest.approx(other.std_prediction, rel=1e-9)
    assert one.predictions is not None
    assert other.predictions is not None
    assert_array_equal(one.predictions.counts, other.predictions.counts)
    assert_allclose(one.predictions.sums, other.predictions.sums, rtol=1e-12)
    assert_allclose(one.predictions.sums_of_squares, other.predictions.sums_of_squares, rtol=1e-12)
    features = [
        {name: feature.to_json() for name, feature in baseline.features.items()}
        for baseline in (one, other)
    ]
    assert features[0] == features[1]


def test_a_log_without_clicks_is_scored_without_them(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    path.write_text("user_id,ad_id,device,placement,hour,day_of_week\nu,a,tv,p,5,6\n")
    log = LogChunks.open([path], with_time=True)
    scorer = Scorer(_ENCODER, sum_of_features, with_behaviour=False)

    [scored] = scorer.score_all(log, threads=1)

    assert scored.clicks is None
    assert Totals().with_chunk(scored).clicks is None


def test_a_bad_row_is_named_by_its_number_in_the_file_whatever_chunk_it_is_in(
    tmp_path: Path,
) -> None:
    log = simulate(ROWS_PER_CHUNK + 50, seed=6).log
    hours = log.hour.copy()
    hours[ROWS_PER_CHUNK + 20] = 24
    path = tmp_path / "log.parquet"
    table = table_of(log).set_column(4, "hour", pa.array(hours))
    pa_parquet.write_table(table, path)
    scorer = Scorer(_ENCODER, sum_of_features, with_behaviour=False)

    with pytest.raises(
        LogError, match=rf"row {ROWS_PER_CHUNK + 21} after the header: hour is '24'"
    ):
        list(scorer.score_all(LogChunks.open([path], with_time=False), threads=2))


def test_only_a_part_of_a_file_is_in_memory_at_a_time(tmp_path: Path) -> None:
    # Incompressible, so that what is kept shows.
    users = pa.array(np.random.default_rng(0).bytes(16 * 50_000).hex(" ", 16).split())
    columns = dict.fromkeys(("user_id", "ad_id"), users)
    others = dict.fromkeys(("device", "placement", "hour", "day_of_week"), pa.array([1] * 50_000))
    table = pa.table({**columns, **others})
    path = tmp_path / "log.parquet"
    with pa_parquet.ParquetWriter(path, table.schema) as writer:
        for _ in range(12):
            writer.write_table(table)

    before = pa.total_allocated_bytes()
    allocated = [pa.total_allocated_bytes() for _ in LogChunks.open([path], with_time=False)]

    assert path.stat().st_size > 30 << 20
    assert max(allocated) - before < 35 << 20


def test_only_some_files_with_clicks_are_refused(tmp_path: Path) -> None:
    paths = [tmp_path / "a.csv", tmp_path / "b.csv"]
    paths[0].write_text("user_id,ad_id,device,placement,hour,day_of_week,click\nu,a,d,p,1,1,0\n")
    paths[1].write_text("user_id,ad_id,device,placement,hour,day_of_week\nu,a,d,p,1,1\n")

    with pytest.raises(LogError, match=r"b\.csv only one has the column click"):
        LogChunks.open(paths, with_time=False)


def _fail_half_way(path: Path) -> None:
    with written_whole(path) as unfinished:
        unfinished.write_text("half")
        raise ZeroDivisionError


def test_a_file_is_replaced_whole_or_stays_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "scores.csv"
    path.write_text("old")

    with pytest.raises(ZeroDivisionError):
        _fail_half_way(path)
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]
    assert path.read_text() == "old"

    with written_whole(path) as unfinished:
        unfinished.write_text("new")
        assert path.read_text() == "old"
    assert [file.name for file in tmp_path.iterdir()] == ["scores.csv"]
    assert path.read_text() == "new"
