//! The rows of a request.

use purlin_sdk::{Datatype, Fault, NamedTensor, fault, tensor};

/// The columns that a model takes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Columns {
    /// How many there are.
    pub count: usize,
    /// Their names, where the model has them; as many as there are columns, or none.
    pub names: Vec<String>,
}

/// Rows of numbers.
#[derive(Clone, Debug, PartialEq)]
pub struct Table {
    /// Numbers in a row.
    pub columns: usize,
    /// All numbers, row by row.
    pub values: Vec<f64>,
    /// Whether they came as FP32 or less, for libraries that then compute in FP32.
    pub single: bool,
}

/// An input, apart from the host.
struct Input {
    name: String,
    shape: Vec<u64>,
    values: Vec<f64>,
    single: bool,
}

impl Table {
    /// A table of FP64.
    pub fn new(columns: usize, values: Vec<f64>) -> Self {
        Table { columns, values, single: false }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.values.len().checked_div(self.columns).unwrap_or(0)
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The rows in their order.
    pub fn rows(&self) -> std::slice::ChunksExact<'_, f64> {
        self.values.chunks_exact(self.columns.max(1))
    }

    /// Rounds every number to FP32, as libraries do that keep tables in it.
    #[must_use]
    pub fn rounded(mut self) -> Self {
        for value in &mut self.values {
            *value = f64::from(*value as f32);
        }
        self
    }

    /// The rows in a request's inputs: one tensor of rows, or a tensor for each column. Columns are told by their names
    /// where the model has them, and by their order otherwise.
    ///
    /// # Errors
    /// `invalid` names the input, what it has and what the model takes.
    pub fn read(inputs: &[NamedTensor], columns: &Columns) -> Result<Table, Fault> {
        let read = |(index, input): (usize, &NamedTensor)| {
            let datatype = input.value.datatype();
            Ok(Input {
                name: input.name.clone(),
                shape: input.value.shape(),
                values: tensor::numbers(&input.value, &format!("inputs[{index}]"))?,
                single: matches!(datatype, Datatype::Fp32 | Datatype::Fp16 | Datatype::Bf16),
            })
        };
        let inputs: Vec<Input> = inputs.iter().enumerate().map(read).collect::<Result<_, Fault>>()?;
        of_inputs(inputs, columns)
    }
}

fn of_inputs(mut inputs: Vec<Input>, columns: &Columns) -> Result<Table, Fault> {
    match inputs.as_mut_slice() {
        [] => {
            Err(fault::invalid("inputs", "", format!("there are none; the model takes {}", wanted(columns))))
        }
        [input] => rows(input, columns),
        inputs => side_by_side(inputs, columns),
    }
}

fn rows(input: &mut Input, columns: &Columns) -> Result<Table, Fault> {
    let fits = match input.shape.as_slice() {
        [_, width] => *width == columns.count as u64,
        [_] => columns.count == 1,
        _ => false,
    };
    if !fits {
        return Err(unfit(0, input, &wanted(columns)));
    }
    let values = std::mem::take(&mut input.values);
    Ok(Table { columns: columns.count, values, single: input.single })
}

fn side_by_side(inputs: &[Input], columns: &Columns) -> Result<Table, Fault> {
    if inputs.len() != columns.count {
        let reason = format!("there are {}; the model takes {}", inputs.len(), wanted(columns));
        return Err(fault::invalid("inputs", "", reason));
    }
    let height = inputs.first().map_or(0, |input| input.values.len());
    for (index, input) in inputs.iter().enumerate() {
        if !matches!(input.shape.as_slice(), [_] | [_, 1]) || input.values.len() != height {
            let wanted = format!("each of several inputs is a column, [{height}] or [{height}, 1]");
            return Err(unfit(index, input, &wanted));
        }
    }
    let order: Vec<&Input> = if columns.names.is_empty() {
        inputs.iter().collect()
    } else {
        let find = |name: &String| {
            inputs.iter().find(|input| input.name == *name).ok_or_else(|| {
                let names: Vec<&str> = inputs.iter().map(|input| input.name.as_str()).collect();
                let reason = format!("there is no column {name:?}; there are [{}]", names.join(", "));
                fault::invalid("inputs", "", reason)
            })
        };
        columns.names.iter().map(find).collect::<Result<_, Fault>>()?
    };
    let mut values = Vec::with_capacity(height * order.len());
    for row in 0..height {
        values.extend(order.iter().map(|input| input.values[row]));
    }
    let single = inputs.iter().all(|input| input.single);
    Ok(Table { columns: columns.count, values, single })
}

fn wanted(columns: &Columns) -> String {
    format!("rows of {} columns, a tensor of [n, {}]", columns.count, columns.count)
}

fn unfit(index: usize, input: &Input, wanted: &str) -> Fault {
    let given = format!("{:?}", input.shape);
    let reason = format!("the input {:?} has the shape {given}; the model takes {wanted}", input.name);
    fault::invalid(format!("inputs[{index}].shape"), given, reason)
}

#[cfg(test)]
mod tests {
    use super::{Columns, Input, Table, of_inputs};
    use purlin_sdk::Fault;

    fn input(name: &str, shape: &[u64], values: &[f64]) -> Input {
        Input { name: name.to_owned(), shape: shape.to_vec(), values: values.to_vec(), single: false }
    }

    fn columns(names: &[&str]) -> Columns {
        Columns { count: 2, names: names.iter().map(|name| (*name).to_owned()).collect() }
    }

    fn refused(inputs: Vec<Input>, columns: &Columns) -> (String, String) {
        match of_inputs(inputs, columns) {
            Err(Fault::Invalid(errors)) => (errors[0].field.clone(), errors[0].reason.clone()),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn one_input_is_rows_under_any_name() {
        let table = of_inputs(vec![input("x", &[2, 2], &[1.0, 2.0, 3.0, 4.0])], &columns(&[])).expect("rows");
        assert_eq!(table.rows().collect::<Vec<_>>(), [[1.0, 2.0], [3.0, 4.0]]);
        assert_eq!(table.len(), 2);
    }

    #[test]
    fn several_inputs_are_columns_in_the_order_of_their_names() {
        let inputs = || vec![input("b", &[2], &[1.0, 2.0]), input("a", &[2, 1], &[3.0, 4.0])];
        let named = of_inputs(inputs(), &columns(&["a", "b"])).expect("columns");
        assert_eq!(named, Table::new(2, vec![3.0, 1.0, 4.0, 2.0]));
        let plain = of_inputs(inputs(), &columns(&[])).expect("columns");
        assert_eq!(plain, Table::new(2, vec![1.0, 3.0, 2.0, 4.0]));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let (field, reason) = refused(vec![input("x", &[1, 3], &[0.0; 3])], &columns(&[]));
        assert_eq!(field, "inputs[0].shape");
        assert!(
            reason.contains("\"x\"") && reason.contains("[1, 3]") && reason.contains("[n, 2]"),
            "{reason}"
        );
        let (field, _) = refused(vec![input("x", &[2], &[0.0; 2])], &columns(&[]));
        assert_eq!(field, "inputs[0].shape");
        let uneven = vec![input("a", &[2], &[0.0; 2]), input("b", &[3], &[0.0; 3])];
        assert_eq!(refused(uneven, &columns(&[])).0, "inputs[1].shape");
        let strangers = vec![input("a", &[1], &[0.0]), input("c", &[1], &[0.0])];
        assert!(refused(strangers, &columns(&["a", "b"])).1.contains("\"b\""));
        assert_eq!(refused(Vec::new(), &columns(&[])).0, "inputs");
    }
}
