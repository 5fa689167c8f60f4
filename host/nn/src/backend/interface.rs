//! What a graph takes and gives, and whether a request fits it: every backend asks here before it computes, so that a
//! wrong request gets the same answer whichever library would have refused it.

use crate::backend::TensorInfo;
use crate::error::NnError;
use crate::tensor::Tensor;

/// The inputs and outputs of a graph.
#[derive(Clone, Debug, Default)]
pub(crate) struct Interface {
    /// In the graph's order.
    pub(crate) inputs: Vec<TensorInfo>,
    /// In the graph's order.
    pub(crate) outputs: Vec<TensorInfo>,
    /// Dimensions that must have the same size in one request: groups of (input, dimension).
    equal: Vec<Vec<(usize, usize)>>,
}

impl Interface {
    /// `names` has a name for each dimension of each input, or none; those that share one must have the same size.
    pub(crate) fn new(
        inputs: Vec<TensorInfo>,
        outputs: Vec<TensorInfo>,
        names: &[Vec<Option<String>>],
    ) -> Interface {
        let mut groups: Vec<(&str, Vec<(usize, usize)>)> = Vec::new();
        for (input, dimensions) in names.iter().enumerate() {
            for (dimension, name) in dimensions.iter().enumerate() {
                let Some(name) = name else { continue };
                match groups.iter_mut().find(|(known, _)| known == name) {
                    Some((_, members)) => members.push((input, dimension)),
                    None => groups.push((name, vec![(input, dimension)])),
                }
            }
        }
        let equal =
            groups.into_iter().map(|(_, members)| members).filter(|members| members.len() > 1).collect();
        Interface { inputs, outputs, equal }
    }

    /// The tensors in the graph's order.
    ///
    /// # Errors
    /// [`NnError::Input`]: one is missing, unknown, there twice, or of another datatype or shape than the graph takes.
    pub(crate) fn arrange<'a>(&self, given: &'a [(String, Tensor)]) -> Result<Vec<&'a Tensor>, NnError> {
        let mut arranged = Vec::with_capacity(self.inputs.len());
        for (position, info) in self.inputs.iter().enumerate() {
            let tensor = match given.get(position) {
                // Nearly always they come in the graph's order.
                Some((name, tensor)) if *name == info.name => tensor,
                _ => {
                    &given
                        .iter()
                        .find(|(name, _)| *name == info.name)
                        .ok_or_else(|| self.missing(info, given))?
                        .1
                }
            };
            fits(info, tensor)?;
            arranged.push(tensor);
        }
        if given.len() != self.inputs.len() {
            return Err(self.unexpected(given));
        }
        for group in &self.equal {
            self.same_size(group, &arranged)?;
        }
        Ok(arranged)
    }

    fn missing(&self, info: &TensorInfo, given: &[(String, Tensor)]) -> NnError {
        // A single wrong name is better told as such than as something that is missing.
        match self.unknown(given) {
            Some(error) => error,
            None => NnError::Input(format!("input {:?} ({}) is missing", info.name, written(info))),
        }
    }

    fn unexpected(&self, given: &[(String, Tensor)]) -> NnError {
        self.unknown(given).unwrap_or_else(|| {
            let twice =
                given.iter().enumerate().find(|(at, (name, _))| given[..*at].iter().any(|(n, _)| n == name));
            NnError::Input(format!("input {:?} is given twice", twice.map_or("", |(_, (name, _))| name)))
        })
    }

    fn unknown(&self, given: &[(String, Tensor)]) -> Option<NnError> {
        let (name, _) = given.iter().find(|(name, _)| self.inputs.iter().all(|info| info.name != *name))?;
        let known = self.inputs.iter().map(|info| format!("{:?}", info.name)).collect::<Vec<_>>().join(", ");
        Some(NnError::Input(format!("input {name:?} is none of the model's: it takes {known}")))
    }

    fn same_size(&self, group: &[(usize, usize)], arranged: &[&Tensor]) -> Result<(), NnError> {
        let size = |(input, dimension): (usize, usize)| arranged[input].shape()[dimension];
        let first = group[0];
        match group.iter().find(|member| size(**member) != size(first)) {
            None => Ok(()),
            Some(other) => Err(NnError::Input(format!(
                "input {:?}: dimension {} is {}; it must be {}, as dimension {} of input {:?} is",
                self.inputs[other.0].name,
                other.1,
                size(*other),
                size(first),
                first.1,
                self.inputs[first.0].name,
            ))),
        }
    }
}

fn fits(info: &TensorInfo, tensor: &Tensor) -> Result<(), NnError> {
    if tensor.datatype() != info.datatype {
        return Err(NnError::Input(format!(
            "input {:?}: datatype is {}, the model takes {}",
            info.name,
            tensor.datatype(),
            info.datatype
        )));
    }
    let (shape, wanted) = (tensor.shape(), &info.shape);
    let same = |(size, wanted): (&u64, &i64)| *wanted < 0 || u64::try_from(*wanted) == Ok(*size);
    if shape.len() != wanted.len() || !shape.iter().zip(wanted).all(same) {
        return Err(NnError::Input(format!(
            "input {:?}: shape is {shape:?}, the model takes {wanted:?} (-1 for any size)",
            info.name
        )));
    }
    Ok(())
}

fn written(info: &TensorInfo) -> String {
    format!("{} of shape {:?}", info.datatype, info.shape)
}

#[cfg(test)]
mod tests {
    use super::Interface;
    use crate::backend::TensorInfo;
    use crate::tensor::{Datatype, Tensor};

    fn interface() -> Interface {
        let input = |name: &str, shape: &[i64]| TensorInfo {
            name: name.to_owned(),
            datatype: Datatype::Fp32,
            shape: shape.to_vec(),
        };
        let names = vec![vec![Some("n".to_owned()), None], vec![Some("n".to_owned())]];
        Interface::new(vec![input("a", &[-1, 2]), input("b", &[-1])], Vec::new(), &names)
    }

    fn floats(name: &str, shape: &[u64]) -> (String, Tensor) {
        let count = shape.iter().product::<u64>() as usize;
        (name.to_owned(), Tensor::of_floats(shape.to_vec(), &vec![0.0; count]).unwrap())
    }

    fn refusal(given: &[(String, Tensor)]) -> String {
        interface().arrange(given).unwrap_err().to_string()
    }

    #[test]
    fn inputs_come_in_any_order() {
        let given = [floats("b", &[3]), floats("a", &[3, 2])];
        let arranged = interface();
        let arranged = arranged.arrange(&given).unwrap();
        assert_eq!((arranged[0].shape(), arranged[1].shape()), ([3, 2].as_slice(), [3].as_slice()));
    }

    #[test]
    fn what_does_not_fit_is_named_with_what_would() {
        let a = || floats("a", &[3, 2]);
        assert_eq!(refusal(&[a()]), r#"input "b" (FP32 of shape [-1]) is missing"#);
        assert_eq!(
            refusal(&[a(), floats("c", &[3])]),
            r#"input "c" is none of the model's: it takes "a", "b""#
        );
        assert_eq!(refusal(&[a(), floats("b", &[3]), a()]), r#"input "a" is given twice"#);
        assert_eq!(
            refusal(&[floats("a", &[3]), floats("b", &[3])]),
            r#"input "a": shape is [3], the model takes [-1, 2] (-1 for any size)"#
        );
        assert_eq!(
            refusal(&[a(), floats("b", &[4])]),
            r#"input "b": dimension 0 is 4; it must be 3, as dimension 0 of input "a" is"#
        );
        let texts = ("b".to_owned(), Tensor::of_texts(&["x"]));
        assert_eq!(refusal(&[a(), texts]), r#"input "b": datatype is BYTES, the model takes FP32"#);
    }
}
