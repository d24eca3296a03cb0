"""Sample weights by class and by condition, and conditions that must be refused."""

import sqlite3
from types import SimpleNamespace

import numpy as np
import polars as pl
import pytest
from support.labelled import source

from tailfit.errors import ArgumentError, DataError
from tailfit.weights import sample_weights

CAUSES = ["ok", "valve leak", "ok", "pump wear"]
TABLE = pl.DataFrame(
    {
        "id": list("abcd"),
        "site": ["B", "A", None, "B"],
        "snr": [1.0, 2.0, 3.0, 5.0],
        "odd name": [1, 2, 3, 4],
        "good": [True, False, True, None],
    }
)


class Unlabelled:
    labels, class_names, metadata = None, (), TABLE

    def __len__(self):
        return 4


@pytest.fixture
def records():
    return source(CAUSES, metadata=TABLE)


class TestByClass:
    @pytest.mark.parametrize(
        ("y", "table", "names"),
        [
            (CAUSES, {"valve leak": 1.5, "pump wear": 3}, None),
            ([1, 2, 1, 0], {2: 1.5, 0: 3}, None),
            ([1, 2, 1, 0], {np.int64(2): np.float32(1.5), "0": 3}, None),
            ([1, 2, 1, 0], {"valve leak": 1.5, 0: 3}, ["pump wear", "ok", "valve leak"]),
            (np.eye(3)[[1, 2, 1, 0]], {"valve leak": 1.5, 0: 3}, ["pump wear", "ok", "valve leak"]),
            (source(CAUSES), {"valve leak": 1.5, "pump wear": 3}, None),
            (SimpleNamespace(source=source(CAUSES)), {"valve leak": 1.5, "pump wear": 3}, None),
        ],
    )
    def test_classes_outside_the_table_weigh_one(self, y, table, names):
        found = sample_weights(y, table, class_names=names)
        assert found.dtype == np.float32
        assert found.tolist() == [1, 1.5, 1, 3]

    def test_an_empty_table_gives_ones(self, records):
        assert sample_weights(records, {}).tolist() == [1] * 4

    def test_soft_labels_average_and_multi_label_weights_multiply(self):
        assert sample_weights([[0.5, 0.5], [1, 0]], {1: 3}).tolist() == [2, 1]
        assert sample_weights([[1, 1], [1, 0], [0, 0]], {0: 2, 1: 3}).tolist() == [6, 2, 1]

    def test_unknown_names_are_refused_and_the_nearest_suggested(self, records):
        without = SimpleNamespace(**{**vars(records), "metadata": None})
        for y in (CAUSES, without):
            with pytest.raises(ArgumentError, match=r"'valve leek'.*'ok', 'pump wear'|'valve leek'.*'ok'") as caught:
                sample_weights(y, {"valve leek": 2.0})
            assert "'valve leak'" in caught.value.fix
        for key in (3, -1):
            with pytest.raises(ArgumentError, match="unknown class"):
                sample_weights([0, 1, 2], {key: 2.0})

    def test_a_class_named_twice_is_refused(self):
        with pytest.raises(ArgumentError, match="twice"):
            sample_weights(CAUSES, {"ok": 2.0, 0: 2.0})

    def test_names_that_contradict_the_source_are_refused(self, records):
        with pytest.raises(ArgumentError, match="class_names"):
            sample_weights(records, {"ok": 2.0}, class_names=["a", "b", "c"])


class TestByCondition:
    @pytest.mark.parametrize(
        ("condition", "rows"),
        [
            ("site = 'B' AND snr < 3", [0]),
            ("site = 'B'", [0, 3]),
            ("site <> 'B'", [1]),  # a comparison with null is unknown
            ("NOT (site = 'B')", [1]),
            ("site IS NULL", [2]),
            ("snr BETWEEN 2 AND 3", [1, 2]),
            ("site IN ('A', 'C')", [1]),
            ("site LIKE 'B%' OR snr = 3", [0, 2, 3]),
            ('"odd name" >= 3', [2, 3]),
            ("good", [0, 2]),
            ("id = 'd'", [3]),
            ("snr*-1.5e0 < -(2/1) and snr/1 > 0", [1, 2, 3]),
            ("snr > AVG(snr)", [2, 3]),
            ("site = 'it''s' OR site = 'SELECT' OR site = 'C:\\x'", []),
            ("CASE WHEN snr > 2 THEN true END", [2, 3]),
        ],
    )
    def test_rows_that_do_not_match_weigh_one(self, records, condition, rows):
        expected = np.ones(4)
        expected[rows] = 0.5
        for y in (records, TABLE, SimpleNamespace(source=records), Unlabelled()):
            assert sample_weights(y, {condition: 0.5}).tolist() == expected.tolist()

    @pytest.mark.parametrize(
        "condition",
        [
            "snr >= 3",
            "snr != 3",
            "NOT (snr >= 3)",
            "snr < 3",
            "snr = snr",
            "snr = 3 OR snr != 3",
            "snr + 1 > 2",
            "snr > n",
            "ABS(snr) > 0 AND NOT (n = 1)",
            "site <> 'A'",
            "NOT (site = 'A') OR snr > 0",
            "site NOT IN ('A', 'B')",
            "site NOT LIKE 'A%'",
            "snr BETWEEN 1 AND 3",
            "snr NOT BETWEEN 1 AND 2",
            "snr IS NULL",
            "NOT (snr IS NULL)",
            "COALESCE(snr, 0) = 0",
            "snr / NULLIF(n, 0) > 0 OR site = 'C'",
            "CASE WHEN snr > 2 THEN 1 ELSE 0 END = 1",
        ],
    )
    def test_missing_values_are_unknown_as_in_sqlite(self, condition):
        rows = [("A", 1.0, 1), ("B", None, None), (None, 3.0, 3), ("C", float("nan"), 4), ("A", 5.0, 0)]
        table = pl.DataFrame(rows, schema=["site", "snr", "n"], orient="row")
        oracle = sqlite3.connect(":memory:")  # sqlite stores NaN as null
        oracle.execute("CREATE TABLE t (row, site, snr, n)")
        oracle.executemany("INSERT INTO t VALUES (?, ?, ?, ?)", [(place, *row) for place, row in enumerate(rows)])
        met = [row for (row,) in oracle.execute(f"SELECT row FROM t WHERE {condition}")]
        oracle.close()
        assert np.flatnonzero(sample_weights(table, {condition: 0.5}) == 0.5).tolist() == met

    def test_an_average_ignores_missing_values(self):
        table = pl.DataFrame({"snr": [1.0, float("nan"), 3.0, 5.0]})
        assert sample_weights(table, {"snr > AVG(snr)": 0.5}).tolist() == [1, 1, 1, 0.5]

    @pytest.mark.parametrize("condition", ["snr / n > 3", "site = 'A' OR SQRT(n - 1) > 0", "snr > AVG(snr / n)"])
    def test_a_computed_nan_is_refused(self, condition):
        table = pl.DataFrame({"site": ["A", "B"], "snr": [0.0, 1.0], "n": [0, 1]})
        with pytest.raises(ArgumentError, match=r"computes a NaN.*NULLIF"):
            sample_weights(table, {condition: 0.5})

    def test_null_in_a_list_is_refused(self, records):
        with pytest.raises(ArgumentError, match="NULL in a list"):
            sample_weights(records, {"site NOT IN ('A', NULL)": 0.5})

    @pytest.mark.parametrize("condition", ["good IS NOT TRUE", "NOT (snr > 2 IS FALSE)"])
    def test_is_true_and_is_false_are_refused(self, records, condition):
        with pytest.raises(ArgumentError, match=r"contains IS (NOT TRUE|FALSE)"):
            sample_weights(records, {condition: 0.5})

    def test_conditions_and_classes_multiply(self, records):
        table = {"ok": 3.0, "site = 'B'": 0.5, "snr < 3": 0.25}
        assert sample_weights(records, table).tolist() == [3 * 0.5 * 0.25, 0.25, 3, 0.5]

    def test_a_class_name_wins_over_a_condition(self):
        data = source(["good", "bad"], metadata=pl.DataFrame({"good": [False, True]}))
        assert sample_weights(data, {"good": 2.0}).tolist() == [2, 1]

    @pytest.mark.parametrize(
        ("condition", "message"),
        [
            ("sites = 'B'", r"unknown column 'sites'.*'id', 'site', 'snr'.*use 'site'"),
            ("SITE = 'B'", r"unknown column 'SITE'.*use 'site'"),
            ('site = "B"', "unknown column 'B'.*single quotes"),
            ("snr >", "the condition 'snr >': .*a SQL expression such as"),
            ("", "condition ''"),
            ("snr", "type Float64"),
            ("snr + 1", "type Float64"),
            ("SUM(snr) > 1", "one value for the whole table"),
            ("COUNT(*) > 1", "one value"),
            (
                "MAX(snr) OVER () > 1",
                r"the condition 'MAX\(snr\) OVER \(\) > 1'",
            ),  # unsupported by older polars
            ("1 = 1", "one value"),
            ("true", "one value"),
            ("null", "one value"),
            ("site = 3", "cannot compare"),
            ("nothing(snr) > 1", "unsupported function"),
            ("valve leek", "unknown column 'valve'.*or a class, 'ok', 'pump wear', 'valve leak'"),
        ],
    )
    def test_an_invalid_condition_is_refused(self, records, condition, message):
        with pytest.raises(ArgumentError, match=message):
            sample_weights(records, {condition: 0.5})

    def test_an_aggregate_is_refused_for_a_single_row_too(self):
        with pytest.raises(ArgumentError, match="one value"):
            sample_weights(TABLE.head(1), {"SUM(snr) > 0": 0.5})

    def test_conditions_need_metadata_and_classes_need_labels(self):
        with pytest.raises(ArgumentError, match="a source with metadata"):
            sample_weights(CAUSES, {"site = 'B'": 0.5})
        with pytest.raises(ArgumentError, match="metadata"):
            sample_weights(TABLE, {3: 0.5})
        with pytest.raises(DataError):
            sample_weights([], {0: 1.0})

    @pytest.mark.parametrize(
        "condition",
        [
            "snr IN (SELECT snr FROM read_csv('{file}'))",
            "snr IN (\n select * FROM read_csv('{file}'))",
            "EXISTS (SELECT 1 FROM read_csv('{file}'))",
            "(FROM read_csv('{file}')) > 1",
            "snr IN (TABLE x)",
            "snr IN (WITH a AS (SELECT 1) SELECT * FROM a)",
            "EXISTS (VALUES (1))",
            # Attempts to hide a subquery in a string or a comment:
            "E'\\'' = site OR snr IN (SELECT * FROM read_csv('{file}')) OR site = E'\\''",
            "site = '\\'' OR snr IN (SELECT * FROM read_csv('{file}')) OR site = '\\''",
            "$$'$$ = site OR snr IN (SELECT * FROM read_csv('{file}')) OR site = $$'$$",
            "snr > 1 -- '\n OR snr IN (SELECT * FROM read_csv('{file}')) -- '",
            "snr > 1 /* ' */ OR snr IN (SELECT * FROM read_csv('{file}')) /* ' */",
            "snr > `'` OR snr IN (SELECT * FROM read_csv('{file}')) OR snr > `'`",
            "snr > 1; SELECT 1",
        ],
    )
    def test_a_condition_opens_no_file(self, records, condition, tmp_path):
        file = tmp_path / "other.csv"
        file.write_text("secret\n1\n")
        with pytest.raises(ArgumentError) as caught:
            sample_weights(records, {condition.format(file=file): 0.5})
        # The condition is refused before polars parses it, whose message would show the column.
        assert "'secret'" not in str(caught.value)
        assert '"secret"' not in str(caught.value)
        assert caught.value.__cause__ is None or caught.value.__cause__.__cause__ is None

    @pytest.mark.parametrize(
        "condition", ["site = E'B'", "site = N'B'", "site = 'B\\'''", "site = $$B$$", "snr > `snr`"]
    )
    def test_quotes_that_could_hide_a_subquery_are_refused(self, records, condition):
        with pytest.raises(ArgumentError, match=", at "):
            sample_weights(records, {condition: 0.5})

    def test_metadata_of_a_different_length_is_refused(self):
        with pytest.raises(DataError, match="4 rows for 2 samples"):
            sample_weights(source(["a", "b"], metadata=TABLE), {"snr > 1": 0.5})

    def test_conditions_are_not_python(self, records):
        with pytest.raises(ArgumentError):
            sample_weights(records, {"__import__('os').getpid() > 0": 0.5})


class TestTable:
    @pytest.mark.parametrize("weight", [-1.0, float("nan"), float("inf"), "2", None, True])
    def test_bad_weights_are_refused(self, weight):
        with pytest.raises(ArgumentError, match="the weight"):
            sample_weights(CAUSES, {"ok": weight})

    @pytest.mark.parametrize("table", [[1.0, 2.0], None, {1.5: 2.0}, {True: 2.0}, {None: 1.0}])
    def test_an_invalid_table_is_refused(self, table):
        with pytest.raises(ArgumentError):
            sample_weights(CAUSES, table)

    def test_products_beyond_float32_are_refused(self, records):
        with pytest.raises(ArgumentError, match="product"):
            sample_weights(records, {"snr > 0": 1e30, "snr > 1": 1e30})

    @pytest.mark.parametrize("third", [1.0, 0.0])  # an infinite product times 0 is NaN
    def test_products_beyond_float64_are_refused(self, third):
        conditions = {"snr > 0": 1e300, "snr > 1": 1e300, "snr > 2": third}
        with pytest.raises(ArgumentError, match="product"):
            sample_weights(pl.DataFrame({"snr": [3.0]}), conditions)
