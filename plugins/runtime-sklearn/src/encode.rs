//! Steps that fill in, encode and multiply columns.

use purlin_pickle::Ref;
use purlin_tabular::{ModelError, Table};

use crate::attributes::Estimator;
use crate::model::{InputError, Transform};
use crate::registry::Step;

/// Columns after a step at most.
const MOST: usize = 1 << 20;

/// Fills in what is missing.
struct Imputer {
    /// For each column what it is filled with; NaN drops it.
    fills: Vec<f64>,
    keeps_empty: bool,
    /// What counts as missing.
    missing: f64,
}

pub(crate) fn imputer(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    if estimator.flag("add_indicator", false) {
        return Err(estimator.unsupported("add_indicator=True"));
    }
    let missing = match estimator.find("missing_values") {
        Some(value) => {
            value.number().ok_or_else(|| estimator.unsupported("missing_values that are no numbers"))?
        }
        None => return Err(estimator.unsupported("missing_values=None")),
    };
    let fills = estimator.vector("statistics_", columns)?;
    let keeps_empty =
        estimator.text("strategy") == "constant" || estimator.flag("keep_empty_features", false);
    let after = fills.iter().filter(|fill| keeps_empty || !fill.is_nan()).count();
    if after == 0 {
        return Err(estimator.wrong("statistics_", "all columns were empty"));
    }
    Ok((Box::new(Imputer { fills, keeps_empty, missing }), after))
}

impl Transform for Imputer {
    fn takes_missing(&self) -> bool {
        self.missing.is_nan()
    }

    fn transform(&self, table: Table) -> Result<Table, InputError> {
        let mut values = Vec::with_capacity(table.values.len());
        for row in table.rows() {
            for (value, fill) in row.iter().zip(&self.fills) {
                if fill.is_nan() && !self.keeps_empty {
                    continue;
                }
                let missing = *value == self.missing || (value.is_nan() && self.missing.is_nan());
                values.push(if missing { *fill } else { *value });
            }
        }
        let columns = self.fills.iter().filter(|fill| self.keeps_empty || !fill.is_nan()).count();
        let table = Table { columns, values, single: table.single };
        Ok(if table.single { table.rounded() } else { table })
    }
}

/// The categories of each column, which are numbers.
struct Categories {
    columns: Vec<Vec<f64>>,
    /// Whether others are taken.
    takes_unknown: bool,
}

impl Categories {
    fn read(
        estimator: &Estimator<'_>,
        columns: usize,
        takes_unknown: bool,
    ) -> Result<Categories, ModelError> {
        if estimator.flag("_infrequent_enabled", false) {
            return Err(estimator.unsupported("infrequent categories"));
        }
        let all = estimator.items("categories_")?;
        if all.len() != columns {
            return Err(estimator
                .wrong("categories_", format!("there are {} of them for {columns} columns", all.len())));
        }
        let read = |categories: Ref<'_>| {
            categories
                .floats()
                .map_err(|_| estimator.unsupported("categories that are texts; requests have numbers, and"))
        };
        let columns = all.into_iter().map(read).collect::<Result<_, _>>()?;
        Ok(Categories { columns, takes_unknown })
    }

    /// The place of a value among the categories of its column; `None` for another one.
    fn find(&self, column: usize, value: f64) -> Result<Option<usize>, InputError> {
        let same = |category: &f64| *category == value || (category.is_nan() && value.is_nan());
        let found = self.columns[column].iter().position(same);
        if found.is_none() && !self.takes_unknown {
            return Err(InputError(format!(
                "column {column} has {value}, which is none of the categories it was fitted on"
            )));
        }
        Ok(found)
    }
}

struct OneHot {
    categories: Categories,
    /// The category of each column that is left out.
    dropped: Vec<Option<usize>>,
    after: usize,
}

pub(crate) fn one_hot(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let takes_unknown = estimator.text("handle_unknown") != "error";
    let categories = Categories::read(estimator, columns, takes_unknown)?;
    let dropped = match estimator.find("drop_idx_") {
        None => vec![None; columns],
        Some(dropped) => {
            let items = match dropped.items() {
                Some(items) => items.iter().map(|item| item.integer()).collect(),
                None => dropped
                    .integers()
                    .map_err(|error| estimator.wrong("drop_idx_", error.to_string()))?
                    .into_iter()
                    .map(Some)
                    .collect(),
            };
            let items: Vec<Option<i64>> = items;
            if items.len() != columns {
                return Err(estimator.wrong("drop_idx_", format!("there are {} of them", items.len())));
            }
            items.into_iter().map(|item| item.and_then(|item| usize::try_from(item).ok())).collect()
        }
    };
    let left = |(categories, dropped): (&Vec<f64>, &Option<usize>)| {
        categories.len() - usize::from(dropped.is_some_and(|dropped| dropped < categories.len()))
    };
    let after = categories.columns.iter().zip(&dropped).map(left).sum();
    if !(1..MOST).contains(&after) {
        return Err(estimator.wrong("categories_", format!("there are {after} of them")));
    }
    Ok((Box::new(OneHot { categories, dropped, after }), after))
}

impl Transform for OneHot {
    fn takes_missing(&self) -> bool {
        true
    }

    fn transform(&self, table: Table) -> Result<Table, InputError> {
        let mut values = Vec::with_capacity(table.len() * self.after);
        for row in table.rows() {
            for (column, value) in row.iter().enumerate() {
                let found = self.categories.find(column, *value)?;
                let places = 0..self.categories.columns[column].len();
                let kept = places.filter(|place| Some(*place) != self.dropped[column]);
                values.extend(kept.map(|place| f64::from(u8::from(Some(place) == found))));
            }
        }
        Ok(Table::new(self.after, values))
    }
}

struct Ordinal {
    categories: Categories,
    /// What other values become.
    unknown: f64,
    /// What NaN becomes, where it is a category.
    missing: f64,
}

pub(crate) fn ordinal(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let takes_unknown = estimator.text("handle_unknown") == "use_encoded_value";
    let unknown = estimator.find("unknown_value").and_then(Ref::number).unwrap_or(f64::NAN);
    let missing = estimator.find("encoded_missing_value").and_then(Ref::number).unwrap_or(f64::NAN);
    let categories = Categories::read(estimator, columns, takes_unknown)?;
    Ok((Box::new(Ordinal { categories, unknown, missing }), columns))
}

impl Transform for Ordinal {
    fn takes_missing(&self) -> bool {
        true
    }

    fn transform(&self, mut table: Table) -> Result<Table, InputError> {
        let columns = table.columns.max(1);
        for row in table.values.chunks_exact_mut(columns) {
            for (column, value) in row.iter_mut().enumerate() {
                *value = match self.categories.find(column, *value)? {
                    Some(_) if value.is_nan() => self.missing,
                    Some(place) => place as f64,
                    None => self.unknown,
                };
            }
        }
        Ok(Table { single: false, ..table })
    }
}

/// Products of columns.
struct Polynomial {
    /// The factors of each column after it.
    terms: Vec<Vec<usize>>,
}

pub(crate) fn polynomial(estimator: &Estimator<'_>, columns: usize) -> Result<Step, ModelError> {
    let (low, high) = match estimator.get("degree")?.integer() {
        Some(degree) => (0, usize::try_from(degree).unwrap_or(usize::MAX)),
        None => match estimator.get("degree")?.integers().ok().as_deref() {
            Some([low, high]) => {
                (usize::try_from(*low).unwrap_or(0), usize::try_from(*high).unwrap_or(usize::MAX))
            }
            _ => return Err(estimator.wrong("degree", "it is neither a number nor a pair")),
        },
    };
    let distinct = usize::from(estimator.flag("interaction_only", false));
    let mut terms: Vec<Vec<usize>> = Vec::new();
    if estimator.flag("include_bias", true) {
        terms.push(Vec::new());
    }
    let mut last: Vec<Vec<usize>> = vec![Vec::new()];
    for degree in 1..=high {
        let mut next = Vec::new();
        for term in &last {
            let from = term.last().map_or(0, |last| last + distinct);
            next.extend((from..columns).map(|column| [term.as_slice(), &[column]].concat()));
            if terms.len() + next.len() > MOST / degree {
                return Err(estimator.unsupported(format!(
                    "degree {high} of {columns} columns, which are too many products,"
                )));
            }
        }
        if next.is_empty() {
            break;
        }
        if degree >= low {
            terms.extend(next.iter().cloned());
        }
        last = next;
    }
    let after = terms.len();
    if after == 0 {
        return Err(estimator.wrong("degree", "no columns are left"));
    }
    Ok((Box::new(Polynomial { terms }), after))
}

impl Transform for Polynomial {
    fn transform(&self, table: Table) -> Result<Table, InputError> {
        let single = table.single;
        let round = |value: f64| if single { f64::from(value as f32) } else { value };
        let mut values = Vec::with_capacity(table.len() * self.terms.len());
        for row in table.rows() {
            // From the last factor to the first, as scikit-learn multiplies.
            let product = |term: &Vec<usize>| {
                term.iter()
                    .rev()
                    .map(|column| row[*column])
                    .reduce(|left, right| round(left * right))
                    .unwrap_or(1.0)
            };
            values.extend(self.terms.iter().map(product));
        }
        Ok(Table { columns: self.terms.len(), values, single })
    }
}
