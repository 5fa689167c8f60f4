"""Makes tests/fixtures with XGBoost itself: a model each, and rows with what the library answers for them.

Needs xgboost==3.2.0 (or xgboost-cpu) and scikit-learn==1.9.1. With xgboost==2.1.4 it makes the models of old releases only,
whose names begin with `old-`. What it writes is committed; run it again to add a case.
"""

import json
import pathlib

import numpy
import xgboost
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris

FOLDER = pathlib.Path(__file__).parent / "tests/fixtures"
COMMON = {"max_depth": 3, "seed": 7, "nthread": 1, "eta": 0.4}


def save(name, booster, rows, ending="json", **matrix):
    """Writes a model and what it answers. The rows are those of FP32 that the library makes of them."""
    booster.save_model(FOLDER / f"{name}.{ending}")
    read = xgboost.Booster(model_file=FOLDER / f"{name}.{ending}")
    rows = numpy.asarray(rows, dtype=numpy.float32)
    answers = read.predict(xgboost.DMatrix(rows, **matrix))
    case = {
        "rows": [[None if numpy.isnan(value) else float(value) for value in row] for row in rows],
        "shape": list(answers.shape),
        "answers": answers.ravel().tolist(),
    }
    (FOLDER / f"{name}.answers").write_text(json.dumps(case) + "\n")


def train(name, features, target, rounds=5, rows=None, ending="json", group=None, **parameters):
    data = xgboost.DMatrix(features, target)
    if group:
        data.set_group(group)
    booster = xgboost.train({**COMMON, **parameters}, data, rounds)
    save(name, booster, features[::37] if rows is None else rows, ending)


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
    if xgboost.__version__.startswith("2."):
        train("old-binary-logistic", cancer, malignant, objective="binary:logistic")
        train("old-logitraw", cancer, malignant, objective="binary:logitraw", ending="ubj")
        train("old-multi-softprob", iris, species, objective="multi:softprob", num_class=3)
        train("old-poisson", diabetes, progression, objective="count:poisson")
        train("old-dart", diabetes, progression, booster="dart", rate_drop=0.5)
        return
    for objective in ("binary:logistic", "binary:logitraw", "binary:hinge", "reg:logistic"):
        train(objective.replace(":", "-"), cancer, malignant, objective=objective)
    train("missing", holes(cancer, 1), malignant, objective="binary:logistic", ending="ubj")
    train("missing-unseen", cancer, malignant, objective="binary:logistic", rows=holes(cancer, 2)[::37])
    train("base-score", cancer, malignant, objective="binary:logistic", base_score=0.3, ending="bst")
    for objective in ("multi:softmax", "multi:softprob"):
        train(objective.replace(":", "-"), iris, species, objective=objective, num_class=3)
    for objective in (
        "reg:squarederror", "reg:squaredlogerror", "reg:pseudohubererror", "reg:absoluteerror", "reg:gamma",
        "reg:tweedie", "count:poisson", "survival:cox",
    ):  # fmt: skip
        train(objective.replace(":", "-"), diabetes, progression, objective=objective)
    train(
        "reg-quantileerror", diabetes, progression, objective="reg:quantileerror", quantile_alpha=[0.2, 0.8]
    )
    ranks = numpy.digitize(progression, numpy.quantile(progression, [0.3, 0.6, 0.9]))
    for objective in ("rank:pairwise", "rank:ndcg"):
        train(objective.replace(":", "-"), diabetes, ranks, objective=objective, group=[34] * 13)
    train("rank-map", diabetes, ranks > 2, objective="rank:map", group=[34] * 13)
    times = xgboost.DMatrix(diabetes, label_lower_bound=progression, label_upper_bound=progression)
    survival = xgboost.train({**COMMON, "objective": "survival:aft"}, times, 4)
    save("survival-aft", survival, diabetes[::19])
    two = numpy.column_stack([progression, -progression])
    train("targets", diabetes, two, objective="reg:squarederror")
    train(
        "dart", diabetes, progression, objective="reg:squarederror", booster="dart", rate_drop=0.5, rounds=8
    )
    train(
        "dart-classes", iris, species, objective="multi:softprob", num_class=3, booster="dart", rate_drop=0.5
    )
    train("forest", diabetes, progression, rounds=2, num_parallel_tree=4, subsample=0.6, eta=1)
    train(
        "linear",
        diabetes,
        progression,
        objective="reg:squarederror",
        booster="gblinear",
        rows=holes(diabetes, 3)[::37],
    )
    train("linear-classes", iris, species, objective="multi:softprob", num_class=3, booster="gblinear")
    lossguide = {"tree_method": "hist", "grow_policy": "lossguide", "max_leaves": 6, "max_depth": 0}
    train("lossguide", diabetes, progression, ending="ubj", **lossguide)
    train("pruned", diabetes, progression, gamma=30000, tree_method="exact")

    random = numpy.random.default_rng(8)
    kinds = random.integers(0, 70, 600)
    worth = numpy.where(kinds % 7 < 3, 5.0, -5.0) + random.normal(size=600)
    table = numpy.column_stack([kinds, random.normal(size=600)]).astype(float)
    types = {"feature_types": ["c", "q"], "enable_categorical": True}
    for name, onehot in (("categories", 1), ("categories-onehot", 100)):
        parameters = {**COMMON, "max_cat_to_onehot": onehot, "tree_method": "hist"}
        booster = xgboost.train(parameters, xgboost.DMatrix(table, worth, **types), 5)
        strange = numpy.array([[value, 0.1] for value in (0, 1, 69, 31, 32, 33, 63, 64, numpy.nan)])
        save(name, booster, numpy.concatenate([table[::29], strange]), feature_types=["c", "q"])


if __name__ == "__main__":
    main()
