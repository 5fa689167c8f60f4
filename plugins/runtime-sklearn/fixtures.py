"""Makes tests/fixtures with scikit-learn itself: a model each, and rows with what the library answers for them.

Needs scikit-learn==1.9.1. With scikit-learn==1.2.2 it makes the models of old releases only, whose names begin with `old-`.
What it writes is committed; run it again to add a case.
"""

import json
import pathlib
import pickle
import warnings

import joblib
import numpy
import sklearn
from sklearn.cluster import KMeans, MiniBatchKMeans
from sklearn.compose import ColumnTransformer
from sklearn.datasets import load_breast_cancer, load_diabetes, load_iris
from sklearn.decomposition import PCA, TruncatedSVD
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.ensemble import (
    ExtraTreesClassifier,
    ExtraTreesRegressor,
    GradientBoostingClassifier,
    GradientBoostingRegressor,
    HistGradientBoostingClassifier,
    HistGradientBoostingRegressor,
    RandomForestClassifier,
    RandomForestRegressor,
)
from sklearn.feature_selection import RFE, SelectFromModel, SelectKBest, VarianceThreshold
from sklearn.impute import SimpleImputer
from sklearn.linear_model import (
    BayesianRidge,
    ElasticNet,
    HuberRegressor,
    Lasso,
    LinearRegression,
    LogisticRegression,
    LogisticRegressionCV,
    Perceptron,
    PoissonRegressor,
    Ridge,
    RidgeClassifier,
    SGDClassifier,
    SGDRegressor,
    TweedieRegressor,
)
from sklearn.model_selection import GridSearchCV
from sklearn.naive_bayes import BernoulliNB, ComplementNB, GaussianNB, MultinomialNB
from sklearn.neighbors import KNeighborsClassifier, KNeighborsRegressor
from sklearn.neural_network import MLPClassifier, MLPRegressor
from sklearn.pipeline import FeatureUnion, Pipeline, make_pipeline
from sklearn.preprocessing import (
    Binarizer,
    MaxAbsScaler,
    MinMaxScaler,
    Normalizer,
    OneHotEncoder,
    OrdinalEncoder,
    PolynomialFeatures,
    RobustScaler,
    StandardScaler,
)
from sklearn.svm import SVC, SVR, LinearSVC, LinearSVR, NuSVC
from sklearn.tree import DecisionTreeClassifier, DecisionTreeRegressor, ExtraTreeClassifier

FOLDER = pathlib.Path(__file__).parent / "tests/fixtures"
OLD = sklearn.__version__.startswith("1.2.")
IRIS, SPECIES = load_iris(return_X_y=True)
CANCER, MALIGNANT = load_breast_cancer(return_X_y=True)
CANCER = CANCER[:, :5]
DIABETES, PROGRESSION = load_diabetes(return_X_y=True)
DIABETES = DIABETES[:, :6]
NAMES = numpy.array(["setosa", "versicolor", "virginica"])[SPECIES]

written = 0


def plain(values):
    """As JSON, which has no NaN."""
    return [
        None if isinstance(value, float) and numpy.isnan(value) else value
        for value in values.ravel().tolist()
    ]


def save(name, model, rows, given=None):
    """Writes a model in the next of the ways that there are, and what it answers for the rows, given in their own form."""
    global written
    given = rows if given is None else given
    ways = [
        "joblib",
        "pickle-5",
        "zlib",
        "pickle-4",
        "gzip",
        "pickle-2",
        "joblib",
        "pickle-0",
        "pickle-3",
        "pickle-1",
    ]
    way = ways[written % len(ways)]
    written += 1
    if way.startswith("pickle"):
        file = f"{name}.pkl"
        (FOLDER / file).write_bytes(pickle.dumps(model, int(way[-1])))
    else:
        file = f"{name}.joblib"
        joblib.dump(
            model, FOLDER / file, compress={"joblib": 0, "zlib": ("zlib", 3), "gzip": ("gzip", 3)}[way]
        )
    answer = model.predict(given)
    case = {
        "file": file,
        "rows": plain(rows),
        "single": rows.dtype == numpy.float32,
        "dtype": "str" if answer.dtype.kind in "UO" else str(answer.dtype),
        "shape": list(answer.shape),
        "answers": plain(answer),
    }
    if hasattr(model, "predict_proba"):
        case["probabilities"] = plain(model.predict_proba(given))
    (FOLDER / f"{name}.json").write_text(json.dumps(case) + "\n")


def fit(name, model, features, target, rows=None):
    warnings.simplefilter("ignore")
    model.fit(features, target)
    save(name, model, features[::17] if rows is None else rows)


def iris(name, model, target=SPECIES, rows=None):
    fit(name, model, IRIS, target, rows)


def cancer(name, model, target=MALIGNANT):
    fit(name, model, CANCER, target, CANCER[::40])


def diabetes(name, model, target=PROGRESSION, features=DIABETES):
    fit(name, model, features, target, features[::30])


def holes(features, seed):
    """The same with every tenth value missing."""
    random = numpy.random.default_rng(seed)
    features = features.copy()
    features[random.random(features.shape) < 0.1] = numpy.nan
    return features


def old():
    forest = {"n_estimators": 4, "max_depth": 3, "random_state": 7}
    iris("old-forest", RandomForestClassifier(**forest))
    iris(
        "old-forest-weighted",
        RandomForestClassifier(class_weight={"setosa": 1, "versicolor": 5, "virginica": 2}, **forest),
        NAMES,
    )
    cancer("old-tree", DecisionTreeClassifier(max_depth=3))
    diabetes("old-forest-regressor", RandomForestRegressor(**forest))
    iris("old-gradient", GradientBoostingClassifier(n_estimators=3, max_depth=2))
    cancer("old-gradient-binary", GradientBoostingClassifier(n_estimators=3, max_depth=2))
    diabetes("old-gradient-regressor", GradientBoostingRegressor(n_estimators=4, max_depth=2))
    cancer("old-histogram", HistGradientBoostingClassifier(max_iter=3, max_leaf_nodes=6))
    iris("old-logistic", LogisticRegression(max_iter=300))
    cancer("old-logistic-multinomial", LogisticRegression(multi_class="multinomial", max_iter=300))
    iris("old-logistic-ovr", LogisticRegression(multi_class="ovr"))
    iris("old-svc", SVC(probability=True, max_iter=300))
    iris("old-pipeline", make_pipeline(StandardScaler(), KNeighborsClassifier()))


def linear():
    iris("logistic", LogisticRegression(max_iter=300))
    iris("logistic-names", LogisticRegression(max_iter=300), NAMES)
    iris("logistic-single", LogisticRegression(max_iter=300), rows=IRIS[::17].astype(numpy.float32))
    cancer("logistic-binary", LogisticRegression(max_iter=300))
    cancer("logistic-bool", LogisticRegression(max_iter=300), MALIGNANT == 1)
    cancer("logistic-float", LogisticRegression(max_iter=300), MALIGNANT * 2.0)
    cancer("logistic-int32", LogisticRegression(max_iter=300), MALIGNANT.astype(numpy.int32))
    cancer("logistic-liblinear", LogisticRegression(solver="liblinear"))
    iris("logistic-objects", LogisticRegression(max_iter=300), NAMES.astype(object))
    iris("logistic-cv", LogisticRegressionCV(Cs=2, max_iter=300))
    iris("lda", LinearDiscriminantAnalysis())
    cancer("lda-binary", LinearDiscriminantAnalysis())
    for loss in ("hinge", "log_loss", "modified_huber"):
        iris(f"sgd-{loss}", SGDClassifier(loss=loss, random_state=7))
        cancer(
            f"sgd-binary-{loss}", make_pipeline(StandardScaler(), SGDClassifier(loss=loss, random_state=7))
        )
    iris("linear-svc", LinearSVC())
    cancer("linear-svc-binary", LinearSVC())
    iris("ridge-classifier", RidgeClassifier())
    cancer("perceptron", Perceptron())
    diabetes("linear", LinearRegression())
    diabetes("linear-no-intercept", LinearRegression(fit_intercept=False))
    diabetes("linear-targets", LinearRegression(), numpy.column_stack([PROGRESSION, -PROGRESSION]))
    diabetes("ridge", Ridge())
    diabetes("lasso", Lasso())
    diabetes("elastic", ElasticNet())
    diabetes("bayesian-ridge", BayesianRidge())
    diabetes("huber", HuberRegressor(max_iter=300))
    diabetes("sgd-regressor", SGDRegressor(random_state=7))
    diabetes("linear-svr", LinearSVR(random_state=7))
    diabetes("poisson", PoissonRegressor())
    diabetes("tweedie", TweedieRegressor(power=1.5))


def others():
    iris("svc", SVC())
    iris("svc-linear", SVC(kernel="linear"))
    iris("svc-poly", SVC(kernel="poly", degree=2, coef0=0.5))
    iris("svc-sigmoid", SVC(kernel="sigmoid", gamma=0.01))
    iris("svc-probability", SVC(probability=True, random_state=7), NAMES)
    fit("svc-binary", SVC(probability=True, random_state=7), IRIS[50:], SPECIES[50:])
    iris("nu-svc", NuSVC(nu=0.3))
    for kernel in ("linear", "rbf", "poly", "sigmoid"):
        diabetes(f"svr-{kernel}", SVR(kernel=kernel, C=50), features=DIABETES[::4], target=PROGRESSION[::4])
    iris("gaussian-nb", GaussianNB())
    iris("multinomial-nb", MultinomialNB())
    iris("complement-nb", ComplementNB())
    iris("bernoulli-nb", BernoulliNB(binarize=1.5))
    iris("neighbors", KNeighborsClassifier(4))
    iris("neighbors-distance", KNeighborsClassifier(5, weights="distance", p=1), NAMES, IRIS[::17] + 0.05)
    iris("neighbors-minkowski", KNeighborsClassifier(3, p=3))
    diabetes("neighbors-regressor", KNeighborsRegressor(), features=DIABETES[::4], target=PROGRESSION[::4])
    two = numpy.column_stack([PROGRESSION, -PROGRESSION])
    distance = KNeighborsRegressor(weights="distance")
    fit(
        "neighbors-targets",
        distance,
        DIABETES[::4],
        two[::4],
        numpy.concatenate([DIABETES[1::30], DIABETES[::60]]),
    )
    iris("mlp", MLPClassifier((5, 4), max_iter=100, random_state=7))
    cancer(
        "mlp-binary",
        make_pipeline(StandardScaler(), MLPClassifier(6, activation="tanh", max_iter=60, random_state=7)),
    )
    diabetes(
        "mlp-regressor",
        MLPRegressor(hidden_layer_sizes=6, activation="logistic", max_iter=60, random_state=7),
    )
    diabetes("mlp-poisson", MLPRegressor(loss="poisson", hidden_layer_sizes=3, max_iter=20, random_state=7))
    two = MLPRegressor(hidden_layer_sizes=4, activation="identity", max_iter=60, random_state=7)
    diabetes("mlp-targets", two, numpy.column_stack([PROGRESSION, -PROGRESSION]))
    iris("kmeans", KMeans(3, random_state=7, n_init=2))
    iris("kmeans-batches", MiniBatchKMeans(3, random_state=7, n_init=2))


def trees():
    forest = {"n_estimators": 4, "max_depth": 3, "random_state": 7}
    iris("tree", DecisionTreeClassifier(max_depth=3), NAMES)
    iris("tree-single", DecisionTreeClassifier(), rows=IRIS[::17].astype(numpy.float32))
    iris("tree-weighted", DecisionTreeClassifier(max_depth=2, class_weight="balanced"))
    fit(
        "tree-missing",
        DecisionTreeClassifier(max_depth=4, random_state=7),
        holes(CANCER, 1),
        MALIGNANT,
        holes(CANCER, 1)[::30],
    )
    iris("extra-tree", ExtraTreeClassifier(max_depth=3, random_state=7))
    diabetes("tree-regressor", DecisionTreeRegressor(max_depth=4))
    diabetes(
        "tree-targets", DecisionTreeRegressor(max_depth=3), numpy.column_stack([PROGRESSION, -PROGRESSION])
    )
    iris("forest", RandomForestClassifier(**forest))
    cancer("forest-binary", RandomForestClassifier(**forest))
    fit(
        "forest-missing",
        RandomForestClassifier(**forest),
        holes(CANCER, 2),
        MALIGNANT,
        holes(CANCER, 3)[::30],
    )
    iris("extra-trees", ExtraTreesClassifier(**forest), NAMES)
    diabetes("forest-regressor", RandomForestRegressor(**forest))
    diabetes("extra-trees-regressor", ExtraTreesRegressor(**forest))
    boosting = {"n_estimators": 4, "max_depth": 2, "random_state": 7}
    iris("gradient", GradientBoostingClassifier(**boosting), NAMES)
    cancer("gradient-binary", GradientBoostingClassifier(**boosting))
    cancer("gradient-exponential", GradientBoostingClassifier(loss="exponential", **boosting))
    cancer("gradient-zero", GradientBoostingClassifier(init="zero", **boosting))
    for loss in ("squared_error", "absolute_error", "huber", "quantile"):
        diabetes(f"gradient-{loss}", GradientBoostingRegressor(loss=loss, **boosting))
    histogram = {"max_iter": 4, "max_leaf_nodes": 5, "random_state": 7, "max_bins": 16}
    iris("histogram", HistGradientBoostingClassifier(**histogram))
    cancer("histogram-binary", HistGradientBoostingClassifier(**histogram))
    model = HistGradientBoostingClassifier(**histogram)
    fit("histogram-missing", model, holes(CANCER, 4), MALIGNANT, holes(CANCER, 4)[::30])
    for loss in ("squared_error", "poisson", "gamma", "absolute_error", "quantile"):
        quantile = {"quantile": 0.7} if loss == "quantile" else {}
        diabetes(f"histogram-{loss}", HistGradientBoostingRegressor(loss=loss, **quantile, **histogram))


def pipelines():
    classifier = LogisticRegression(max_iter=300)
    for scaler in (
        StandardScaler(), StandardScaler(with_mean=False), MinMaxScaler(), MinMaxScaler((-1, 2), clip=True),
        MaxAbsScaler(), RobustScaler(), Normalizer(), Normalizer("l1"), Normalizer("max"), Binarizer(threshold=2.5),
        PolynomialFeatures(), PolynomialFeatures(3, interaction_only=True, include_bias=False),
        PolynomialFeatures((2, 3)), PCA(2), PCA(3, whiten=True), TruncatedSVD(2), VarianceThreshold(0.5),
        SelectKBest(k=2), SelectFromModel(Lasso(0.01)), RFE(LinearRegression(), n_features_to_select=2), "passthrough",
    ):  # fmt: skip
        name = "passthrough" if scaler == "passthrough" else type(scaler).__name__.lower()
        while (FOLDER / f"{name}.json").exists():
            name += "-other"
        rows = IRIS[::17] * 1.2
        if name in ("standardscaler", "minmaxscaler"):
            iris(
                f"{name}-single",
                Pipeline([("step", scaler), ("last", classifier)]),
                rows=rows.astype(numpy.float32),
            )
        iris(name, Pipeline([("step", scaler), ("last", classifier)]), rows=rows)
    for strategy in ("mean", "median", "most_frequent", "constant"):
        imputer = SimpleImputer(strategy=strategy)
        features = holes(IRIS, 5)
        fit(f"imputer-{strategy}", make_pipeline(imputer, classifier), features, SPECIES, features[::17])
    fit("imputer-zeros", make_pipeline(SimpleImputer(missing_values=0), classifier), IRIS.round(), SPECIES)
    kinds = IRIS.round()
    fit("one-hot", make_pipeline(OneHotEncoder(), classifier), kinds, SPECIES)
    fit(
        "one-hot-first",
        make_pipeline(OneHotEncoder(drop="first", sparse_output=False), classifier),
        kinds,
        SPECIES,
    )
    fit(
        "one-hot-binary",
        make_pipeline(OneHotEncoder(drop="if_binary"), classifier),
        kinds > 3,
        SPECIES,
        (kinds > 3)[::17] * 1.0,
    )
    ignoring = make_pipeline(OneHotEncoder(handle_unknown="ignore"), classifier)
    fit("one-hot-unknown", ignoring, kinds, SPECIES, numpy.concatenate([kinds[::17], [[99, 3, 1, -1]]]))
    ordinal = make_pipeline(OrdinalEncoder(handle_unknown="use_encoded_value", unknown_value=-1), classifier)
    fit("ordinal", ordinal, kinds, SPECIES, numpy.concatenate([kinds[::17], [[99, 3, 1, -1]]]))
    mixed = ColumnTransformer(
        [
            ("scale", make_pipeline(SimpleImputer(), StandardScaler()), [0, 2]),
            ("kinds", OneHotEncoder(), slice(3, 4)),
            ("none", "drop", [1]),
        ]
    )
    fit("columns", make_pipeline(mixed, classifier), kinds, NAMES)
    rest = ColumnTransformer(
        [("scale", MinMaxScaler(), [False, True, False, False])], remainder="passthrough"
    )
    iris("columns-rest", make_pipeline(rest, RandomForestClassifier(4, max_depth=3, random_state=7)))
    import pandas

    table = pandas.DataFrame(IRIS, columns=["a", "b", "c", "d"])
    named = make_pipeline(
        ColumnTransformer([("scale", StandardScaler(), ["d", "a"])], remainder=MaxAbsScaler()), classifier
    )
    named.fit(table, SPECIES)
    save("columns-named", named, IRIS[::17], table.iloc[::17])
    iris("union", make_pipeline(FeatureUnion([("a", PCA(2)), ("b", StandardScaler())]), classifier))
    search = GridSearchCV(make_pipeline(StandardScaler(), SVC()), {"svc__C": [0.1, 1]}, cv=2)
    iris("search", search)


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    for file in FOLDER.iterdir():
        if file.name.startswith("old-") == OLD:
            file.unlink()
    if OLD:
        old()
    else:
        linear()
        others()
        trees()
        pipelines()


if __name__ == "__main__":
    main()
