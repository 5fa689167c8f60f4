//! Which class of scikit-learn is which estimator.

use purlin_pickle::{Ref, Value};
use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::model::{InputError, Model, Predictor, Transform, check};
use crate::{bayes, boosting, compose, encode, linear, neighbors, network, scale, select, svm, tree};

/// What is served, for errors.
const KNOWN: &str = "served are linear models, SGD, LinearSVC and SVC with their regressors, naive Bayes, nearest neighbors, \
                     decision trees, random forests, extra trees, gradient boosting, MLP, KMeans, GridSearchCV, and Pipeline \
                     and ColumnTransformer of scalers, SimpleImputer, encoders, PolynomialFeatures, PCA and selections. \
                     Convert other models to ONNX (skl2onnx) and serve them with the format onnx";

/// The model that an estimator is.
pub(crate) fn model(estimator: &Estimator<'_>) -> Result<Model, ModelError> {
    let columns = estimator.columns()?;
    let mut steps = Vec::new();
    let last = predictor(estimator, columns.count, &mut steps)?;
    Ok(Model { columns, steps, last })
}

/// A step and the columns after it.
pub(crate) type Step = (Box<dyn Transform>, usize);

/// A predictor of rows of so many columns. What comes before it is added to the steps.
fn predictor(
    estimator: &Estimator<'_>,
    columns: usize,
    steps: &mut Vec<Box<dyn Transform>>,
) -> Result<Predictor, ModelError> {
    match estimator.class() {
        "Pipeline" => {
            let mut all = stages(estimator)?;
            let last = all.pop().flatten().ok_or_else(|| {
                estimator.wrong("steps", "the last step is no predictor, so that there is nothing to predict")
            })?;
            let mut columns = columns;
            for step in all.iter().flatten() {
                let (step, after) = transformer(step, columns)?;
                steps.push(step);
                columns = after;
            }
            predictor(&last, columns, steps)
        }
        "GridSearchCV" | "RandomizedSearchCV" | "HalvingGridSearchCV" | "HalvingRandomSearchCV" => {
            predictor(&estimator.child("best_estimator_")?, columns, steps)
        }
        "LogisticRegression"
        | "LogisticRegressionCV"
        | "SGDClassifier"
        | "LinearSVC"
        | "RidgeClassifier"
        | "RidgeClassifierCV"
        | "Perceptron"
        | "PassiveAggressiveClassifier"
        | "LinearDiscriminantAnalysis" => linear::classifier(estimator, columns),
        "LinearRegression"
        | "Ridge"
        | "RidgeCV"
        | "Lasso"
        | "LassoCV"
        | "ElasticNet"
        | "ElasticNetCV"
        | "Lars"
        | "LarsCV"
        | "LassoLars"
        | "LassoLarsCV"
        | "LassoLarsIC"
        | "OrthogonalMatchingPursuit"
        | "OrthogonalMatchingPursuitCV"
        | "MultiTaskLasso"
        | "MultiTaskElasticNet"
        | "BayesianRidge"
        | "ARDRegression"
        | "HuberRegressor"
        | "TheilSenRegressor"
        | "QuantileRegressor"
        | "SGDRegressor"
        | "PassiveAggressiveRegressor"
        | "LinearSVR"
        | "PoissonRegressor"
        | "GammaRegressor"
        | "TweedieRegressor" => linear::regressor(estimator, columns),
        "GaussianNB" | "MultinomialNB" | "ComplementNB" | "BernoulliNB" => {
            bayes::classifier(estimator, columns)
        }
        "KNeighborsClassifier" | "KNeighborsRegressor" => neighbors::predictor(estimator, columns),
        "KMeans" | "MiniBatchKMeans" => neighbors::clusters(estimator, columns),
        "SVC" | "NuSVC" | "SVR" | "NuSVR" => svm::predictor(estimator, columns),
        "MLPClassifier" | "MLPRegressor" => network::predictor(estimator, columns),
        "DecisionTreeClassifier"
        | "ExtraTreeClassifier"
        | "RandomForestClassifier"
        | "ExtraTreesClassifier" => tree::classifier(estimator, columns),
        "DecisionTreeRegressor" | "ExtraTreeRegressor" | "RandomForestRegressor" | "ExtraTreesRegressor" => {
            tree::regressor(estimator, columns)
        }
        "GradientBoostingClassifier" | "GradientBoostingRegressor" => boosting::gradient(estimator, columns),
        "HistGradientBoostingClassifier" | "HistGradientBoostingRegressor" => {
            boosting::histogram(estimator, columns)
        }
        class => Err(ModelError::unsupported(format!("the estimator {class}"), KNOWN)),
    }
}

/// The steps of a pipeline in their order; `None` for one that passes rows on.
fn stages<'a>(pipeline: &Estimator<'a>) -> Result<Vec<Option<Estimator<'a>>>, ModelError> {
    let stage = |step: Ref<'a>| {
        let parts = step.items().and_then(|parts| <[Ref<'a>; 2]>::try_from(parts).ok());
        let [_, estimator] =
            parts.ok_or_else(|| pipeline.wrong("steps", "a step is no pair of a name and an estimator"))?;
        match estimator.value() {
            Value::None => Ok(None),
            Value::Text(text) if &**text == "passthrough" => Ok(None),
            _ => pipeline.child_of(estimator, "steps").map(Some),
        }
    };
    pipeline.items("steps")?.into_iter().map(stage).collect()
}

/// Several steps as one.
struct Chain(Vec<Box<dyn Transform>>);

impl Transform for Chain {
    fn takes_missing(&self) -> bool {
        self.0.first().is_none_or(|first| first.takes_missing())
    }

    fn transform(&self, mut table: Table) -> Result<Table, InputError> {
        for step in &self.0 {
            check(&table, step.takes_missing())?;
            table = step.transform(table)?;
        }
        Ok(table)
    }
}

/// A step of rows of so many columns.
pub(crate) fn transformer(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    match estimator.class() {
        "Pipeline" => {
            let (mut chain, mut columns) = (Vec::new(), columns);
            for step in stages(estimator)?.iter().flatten() {
                let (step, after) = transformer(step, columns)?;
                chain.push(step);
                columns = after;
            }
            Ok((Box::new(Chain(chain)), columns))
        }
        "StandardScaler" | "MinMaxScaler" | "MaxAbsScaler" | "RobustScaler" => {
            scale::columns(estimator, columns)
        }
        "Normalizer" => scale::normalizer(estimator, columns),
        "Binarizer" => scale::binarizer(estimator, columns),
        "SimpleImputer" => encode::imputer(estimator, columns),
        "OneHotEncoder" => encode::one_hot(estimator, columns),
        "OrdinalEncoder" => encode::ordinal(estimator, columns),
        "PolynomialFeatures" => encode::polynomial(estimator, columns),
        "PCA" | "TruncatedSVD" => scale::projection(estimator, columns),
        "VarianceThreshold" | "SelectKBest" | "SelectFromModel" | "RFE" | "RFECV" => {
            select::features(estimator, columns)
        }
        "FunctionTransformer" if estimator.find("func").is_none() => {
            Ok((Box::new(Chain(Vec::new())), columns))
        }
        "FunctionTransformer" => Err(estimator.unsupported("a function of its own")),
        "ColumnTransformer" => compose::columns(estimator, columns),
        "FeatureUnion" => compose::union(estimator, columns),
        class => Err(ModelError::unsupported(format!("the transformer {class}"), KNOWN)),
    }
}
