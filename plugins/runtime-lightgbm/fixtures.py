"""Makes tests/fixtures with LightGBM itself: a model each, and rows with what the library answers for them.

Needs lightgbm==4.7.0 and scikit-learn==1.9.1. With lightgbm==3.3.5 it makes the models of old releases only, whose names
begin with `old-`. What it writes is committed; run it again to add a case.
"""

import json
import pathlib

import lightgbm
import numpy
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

FOLDER = pathlib.Path(__file__).parent / "tests/fixtures"
COMMON = {
    "verbose": -1,
    "num_leaves": 5,
    "min_data_in_leaf": 5,
    "seed": 7,
    "num_threads": 1,
    "deterministic": True,
}


def save(name, booster, rows):
    """Writes a model and what it answers."""
    booster.save_model(FOLDER / f"{name}.txt")
    answers = lightgbm.Booster(model_file=FOLDER / f"{name}.txt").predict(rows)
    case = {
        # JSON has no NaN.
        "rows": [[None if numpy.isnan(value) else float(value) for value in row] for row in rows],
        "answers": answers.tolist(),
    }
    (FOLDER / f"{name}.json").write_text(json.dumps(case) + "\n")


def train(name, features, target, rounds=8, rows=None, dataset=None, **parameters):
    data = lightgbm.Dataset(features, target, **(dataset or {}))
    booster = lightgbm.train({**COMMON, **parameters}, data, rounds)
    save(name, booster, features[::37] if rows is None else rows)


def holes(features, seed):
    """The same with every tenth value missing."""
    random = numpy.random.default_rng(seed)
    features = features.copy()
    features[random.random(features.shape) < 0.1] = numpy.nan
    return features


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    cancer, malignant = load_breast_cancer(return_X_y=True)
    cancer = cancer[:, :8]
    iris, species = load_iris(return_X_y=True)
    diabetes, progression = load_diabetes(return_X_y=True)
    if lightgbm.__version__.startswith("3."):
        train("old-binary", holes(cancer, 1), malignant, objective="binary")
        train("old-multiclass", iris, species, objective="multiclass", num_class=3)
        train("old-regression", diabetes, progression, objective="regression")
        return

    train("binary", cancer, malignant, objective="binary", sigmoid=1.5)
    train("binary-nan", holes(cancer, 1), malignant, objective="binary")
    train("binary-nan-unseen", cancer, malignant, objective="binary", rows=holes(cancer, 2)[::37])
    zeros = numpy.where(numpy.isnan(holes(cancer, 3)), 0, cancer)
    train(
        "binary-zero", zeros, malignant, objective="binary", zero_as_missing=True, rows=holes(zeros, 4)[::37]
    )
    train(
        "binary-no-missing",
        cancer,
        malignant,
        objective="binary",
        use_missing=False,
        rows=holes(cancer, 5)[::37],
    )
    train("multiclass", iris, species, objective="multiclass", num_class=3)
    train("multiclassova", iris, species, objective="multiclassova", num_class=3)
    for objective in (
        "regression",
        "regression_l1",
        "huber",
        "fair",
        "quantile",
        "mape",
        "poisson",
        "gamma",
        "tweedie",
    ):
        train(objective, diabetes, progression, objective=objective, rounds=4)
    train("regression-sqrt", diabetes, progression, objective="regression", reg_sqrt=True, rounds=4)
    scaled = (progression - progression.min()) / (progression.max() - progression.min())
    train("cross_entropy", diabetes, scaled, objective="cross_entropy", rounds=4)
    train("cross_entropy_lambda", diabetes, scaled, objective="cross_entropy_lambda", rounds=4)
    train(
        "forest",
        diabetes,
        progression,
        objective="regression",
        boosting="rf",
        bagging_freq=1,
        bagging_fraction=0.6,
    )
    train("dart", diabetes, progression, objective="regression", boosting="dart", drop_rate=0.5)
    train(
        "linear",
        diabetes,
        progression,
        objective="regression",
        linear_tree=True,
        rows=holes(diabetes, 6)[::37],
    )
    ranks = numpy.digitize(progression, numpy.quantile(progression, [0.3, 0.6, 0.9]))
    groups = {"group": [34] * 13}
    for objective in ("lambdarank", "rank_xendcg"):
        train(objective, diabetes, ranks, objective=objective, rounds=4, dataset=groups)
    random = numpy.random.default_rng(8)
    kinds = random.integers(0, 70, 600)
    worth = numpy.where(kinds % 7 < 3, 5.0, -5.0) + random.normal(size=600)
    table = numpy.column_stack([kinds, random.normal(size=600)]).astype(float)
    strange = [
        [value, 0.1] for value in (0, 1, 69, 70, 3.7, -0.5, -1, -7, 1e6, numpy.nan, 31, 32, 33, 63, 64)
    ]
    rows = numpy.concatenate([table[::29], numpy.array(strange)])
    train(
        "categories", table, worth, objective="regression", rows=rows,
        dataset={"categorical_feature": [0]}, min_data_per_group=5, cat_smooth=1, max_cat_to_onehot=2,
    )  # fmt: skip
    train("constant", iris, numpy.ones(150), objective="regression", rounds=2)


if __name__ == "__main__":
    main()
