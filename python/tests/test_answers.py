"""What a fitted model answers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow as pa
import pytest

import strata


def test_recommendations_are_the_best_scores(model: strata.ALS, table: pa.Table) -> None:
    lists = model.recommend(k=5).to_pandas()
    assert list(lists.columns) == ["user", "rank", "product", "score"] and len(lists) == 5 * 200
    users, products = model.factors("user"), model.factors("product")
    scores = users["factors"] @ products["factors"].T
    row = {user: at for at, user in enumerate(users["user"])}
    column = {product: at for at, product in enumerate(products["product"])}
    bought = table.to_pandas().groupby("user")["product"].agg(set)
    for user in (0, 7, 199):
        own = lists[lists["user"] == user]
        assert not set(own["product"]) & bought[user]
        seen = [column[product] for product in bought[user]]
        rest = np.delete(scores[row[user]], seen)
        np.testing.assert_allclose(own["score"], np.sort(rest)[::-1][:5], rtol=1e-5)
    again = model.recommend(users=7, k=5, exclude_seen=False)
    np.testing.assert_allclose(again["score"], np.sort(scores[row[7]])[::-1][:5], rtol=1e-5)


def test_users_are_chosen_by_id(model: strata.ALS) -> None:
    everybody = model.recommend(k=3).to_pandas()
    some = model.recommend(users=np.array([5, 190]), k=3).to_pandas()
    expected = everybody[everybody["user"].isin([5, 190])]
    assert sorted(map(tuple, some.values)) == sorted(map(tuple, expected.values))
    with pytest.raises(strata.SettingsError, match="`output.recommend.users` has 4711, which is no user of the data set"):
        model.recommend(users=[5, 4711])
    with pytest.raises(strata.DataError, match="2.5 is no id of a user"):
        model.recommend(users=2.5)
    with pytest.raises(strata.DataError, match="no user is named"):
        model.recommend(users=[])


def test_alike_rows(model: strata.ALS) -> None:
    alike = model.similar_products([3], k=4)
    assert alike.column_names == ["product", "rank", "similar_product", "score"]
    assert list(alike["rank"]) == [1, 2, 3, 4] and 3 not in alike["similar_product"]
    assert len(model.similar_products(k=2)) == 2 * len(model.factors("product"))
    assert set(model.similar_users([0, 1], k=2)["user"]) == {0, 1}
    with pytest.raises(strata.SettingsError, match="has 99999, which is no product"):
        model.similar_products(99999)


def test_segments_part_the_two_tastes(model: strata.ALS) -> None:
    found = model.segments(k=2).to_pandas()
    assert len(found) == 200 and found["segment"].nunique() == 2


def test_segments_say_what_they_are_known_by(model: strata.ALS) -> None:
    found = model.segments(k=2)
    assert [each["rows"] for each in found.facts["segments"]] == list(np.bincount(found["segment"].astype(int)))
    # Each half of the products is one taste's own.
    halves = [{int(product["id"]) // 60 for product in each["own"]} for each in found.facts["segments"]]
    assert sorted(halves, key=sorted) == [{0}, {1}]
    assert [each["k"] for each in model.segments(k=[2, 3]).facts["tried"]] == [2, 3]
    assert "seconds" not in found.facts and not model.factors().facts


def test_tables_are_arrow_for_all(model: strata.ALS) -> None:
    lists = model.recommend(users=[1], k=3)
    assert pa.table(lists).num_rows == len(lists) == 3
    assert pl.DataFrame(lists).columns == lists.column_names
    assert lists.to_polars().shape == (3, 4) and lists.to_pandas().shape == (3, 4)
    assert "3 rows: user, rank" in repr(lists)
    with pytest.raises(KeyError):
        lists["nothing"]
    factors = model.factors().to_arrow()
    assert factors.schema.field("factors").type == pa.list_(pa.field("item", pa.float32(), False), 6) or (
        factors.schema.field("factors").type.list_size == 6
    )
    with pytest.raises(strata.SettingsError, match="no factors of the mode time"):
        model.factors("time")


def test_a_saved_model_is_the_command_lines(tmp_path: Path, model: strata.ALS, coordinator) -> None:  # type: ignore[no-untyped-def]
    folder = model.save(tmp_path / "saved")
    assert sorted(each.name for each in folder.iterdir()) == ["data", "job.toml", "model"]
    loaded = strata.load(folder, progress=False)
    assert type(loaded) is strata.ALS and loaded.get_params()["rank"] == 6
    assert loaded.digest == model.digest and loaded.history == model.history
    lists = loaded.recommend(users=[3], k=5)
    assert list(lists["product"]) == list(model.recommend(users=[3], k=5)["product"])
    job = (folder / "job.toml").read_text()
    file = tmp_path / "lists.parquet"
    found = coordinator(folder, "recommend", job, "--set", f"output.recommend.file={file}")
    assert found["users"] == 200, found
    with pytest.raises(strata.SettingsError, match="is not empty"):
        model.save(folder)
    with pytest.raises(strata.UnavailableError, match="is not there"):
        strata.load(tmp_path / "nowhere")


def test_a_model_of_the_command_line_is_loaded_by_its_job(tmp_path: Path, file: Path, coordinator) -> None:  # type: ignore[no-untyped-def]
    job = f"""
        [input]
        files = ["{file}"]
        user = "user"
        product = "product"
        time = "day"
        [model]
        time = "factor"
        rank = 3
        epochs = 2
        cg_steps = 2
        solver = "cg"
        [output]
        data = "data"
        model = "model"
    """
    found = coordinator(tmp_path, "run", job)
    loaded = strata.load(tmp_path / "job.toml", progress=False)
    assert type(loaded) is strata.TensorALS and loaded.digest == found["digest"]
    assert loaded.settings == {"model.cg_steps": 2}
    assert len(loaded.recommend(users=[3], k=5)) == 5


def test_new_users_are_folded_in(file: Path) -> None:
    model = strata.ALS(rank=6, epochs=3, progress=False).fit(file)
    products = model.factors("product").to_arrow()
    new = pa.table({"user": [9001] * 3, "product": [61, 62, 65]})
    with pytest.raises(strata.SettingsError):
        model.recommend(users=9001)
    before = model.digest
    assert model.fold_in(new).digest != before
    # Nobody else moved, and the new one has the taste of the upper half.
    assert model.factors("product").to_arrow().equals(products)
    assert (model.recommend(users=9001, k=10)["product"] >= 60).mean() > 0.7


def test_an_update_trains_on(file: Path, table: pa.Table) -> None:
    model = strata.ALS(rank=6, epochs=2, progress=False).fit(file)
    before = model.digest
    more = pa.table({"user": [0, 777], "product": [1, 1]})
    assert model.update(more, epochs=1).digest != before
    assert 777 in model.recommend(k=1)["user"]


def test_the_report_is_a_page(tmp_path: Path, file: Path) -> None:
    model = strata.ALS(rank=3, epochs=1, split={"test_fraction": 0.2}, progress=False).fit(file)
    assert "<html" in model.report(tmp_path / "report.html").read_text()[:200].lower()
