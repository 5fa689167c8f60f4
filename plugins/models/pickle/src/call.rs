//! The few calls whose result is known: numpy's constructors, and what Python writes bytes and sets with. Any other call is
//! an object that says what would have been called.

use std::rc::Rc;

use crate::array::{Array, Datatype, Elements, Kind};
use crate::error::Error;
use crate::machine::{Machine, object};
use crate::text::latin1;
use crate::value::{Bytes, Id, Value};

/// Dimensions of an array at most, as in numpy.
const DIMENSIONS: usize = 64;

/// What a call gives.
pub(crate) fn reduce(machine: &mut Machine<'_>, function: Id, arguments: Id) -> Result<Value, Error> {
    let Value::Class { module, name } = machine.value(function) else {
        return Ok(object(function, arguments));
    };
    let Value::Tuple(given) = machine.value(arguments) else {
        return machine.fail("what a function is called with is no tuple");
    };
    let (numpy, module, name) = (is_numpy(module), Rc::clone(module), Rc::clone(name));
    let given = given.clone();
    machine.count(size_of_val(given.as_slice()))?;
    Ok(match (&*module, &*name, given.as_slice()) {
        (_, "dtype", [code, ..]) if numpy => {
            let Value::Text(code) = machine.value(*code) else {
                return machine.fail("a dtype's name is no text");
            };
            match Datatype::parse(code) {
                Some(datatype) => Value::Datatype(Rc::new(datatype)),
                None => return machine.fail(format!("{code:?} is no dtype that is known")),
            }
        }
        (_, "scalar", [datatype, bytes]) if numpy => {
            let datatype = datatype_of(machine, *datatype)?;
            let elements = elements(machine, &datatype, *bytes)?;
            Value::Array(array(machine, datatype, Vec::new(), false, elements)?)
        }
        (_, "_frombuffer", [bytes, datatype, shape, order]) if numpy => {
            let datatype = datatype_of(machine, *datatype)?;
            let (shape, column_major) = (shape_of(machine, *shape)?, is_column_major(machine, *order));
            let elements = elements(machine, &datatype, *bytes)?;
            Value::Array(array(machine, datatype, shape, column_major, elements)?)
        }
        ("_codecs", "encode", [text, encoding]) => latin1_bytes(machine, *text, Some(*encoding))?,
        ("builtins" | "__builtin__", "bytearray" | "bytes", [content, rest @ ..]) => {
            match machine.value(*content) {
                Value::Bytes(bytes) => Value::Bytes(bytes.clone()),
                Value::Text(_) => latin1_bytes(machine, *content, rest.first().copied())?,
                _ => object(function, arguments),
            }
        }
        ("builtins" | "__builtin__", "bytearray" | "bytes", []) => Value::Bytes(Bytes::Source(0..0)),
        ("builtins" | "__builtin__", "set" | "frozenset", [items]) => match machine.value(*items) {
            Value::List(items) | Value::Tuple(items) => {
                let items = items.clone();
                machine.count(items.len() * size_of::<Id>())?;
                Value::Set(items)
            }
            _ => object(function, arguments),
        },
        ("copyreg" | "copy_reg", "_reconstructor", [class, ..]) => object(*class, arguments),
        _ => object(function, arguments),
    })
}

/// Gives an object its state.
pub(crate) fn build(machine: &mut Machine<'_>, target: Id, state: Id) -> Result<(), Error> {
    let built = match machine.value(target) {
        Value::Datatype(datatype) => {
            let datatype = Datatype::clone(datatype);
            Value::Datatype(Rc::new(with_state(machine, datatype, state)?))
        }
        Value::Object(object) if machine.describes_array(object) => Value::Array(following(machine, state)?),
        Value::Object(object) if reconstructs_array(machine, object.class) => {
            Value::Array(with_elements(machine, state)?)
        }
        Value::Object(object) => {
            let mut object = object.clone();
            object.state = Some(state);
            machine.count(size_of::<Id>() * (object.items.len() + 2 * object.entries.len()))?;
            Value::Object(object)
        }
        other => {
            let reason = format!("{} is given a state", other.describe());
            return machine.fail(reason);
        }
    };
    machine.put(target, built);
    Ok(())
}

/// Whether this class of joblib stands before the elements of an array.
pub(crate) fn is_wrapper(module: &str, name: &str) -> bool {
    module.ends_with("joblib.numpy_pickle") && name == "NumpyArrayWrapper"
}

fn is_numpy(module: &str) -> bool {
    module == "numpy" || module.starts_with("numpy.")
}

fn reconstructs_array(machine: &Machine<'_>, class: Id) -> bool {
    matches!(machine.value(class), Value::Class { module, name } if is_numpy(module) && &**name == "_reconstruct")
}

fn latin1_bytes(machine: &mut Machine<'_>, text: Id, encoding: Option<Id>) -> Result<Value, Error> {
    let known = encoding.is_none_or(|encoding| {
        matches!(machine.value(encoding), Value::Text(name) if matches!(&**name, "latin1" | "latin-1"))
    });
    let Value::Text(text) = machine.value(text) else { return machine.fail("what is encoded is no text") };
    match latin1(text) {
        Some(bytes) if known => machine.make_bytes(bytes).map(Value::Bytes),
        _ => machine.fail("a text is encoded otherwise than in Latin-1"),
    }
}

fn datatype_of(machine: &Machine<'_>, id: Id) -> Result<Rc<Datatype>, Error> {
    match machine.value(id) {
        Value::Datatype(datatype) => Ok(Rc::clone(datatype)),
        other => machine.fail(format!("{} stands for a dtype", other.describe())),
    }
}

fn is_column_major(machine: &Machine<'_>, order: Id) -> bool {
    match machine.value(order) {
        Value::Text(order) => &**order == "F",
        Value::Bool(column_major) => *column_major,
        Value::Integer(number) => *number != 0,
        _ => false,
    }
}

fn shape_of(machine: &Machine<'_>, id: Id) -> Result<Vec<usize>, Error> {
    let size = |id: Id| match machine.value(id) {
        Value::Integer(size) => usize::try_from(*size).ok(),
        _ => None,
    };
    let shape = match machine.value(id) {
        Value::Tuple(sizes) | Value::List(sizes) if sizes.len() <= DIMENSIONS => {
            sizes.iter().map(|id| size(*id)).collect()
        }
        Value::Integer(_) => size(id).map(|size| vec![size]),
        _ => None,
    };
    match shape {
        Some(shape) => Ok(shape),
        None => machine.fail("an array's shape is no tuple of sizes"),
    }
}

/// The elements in a state, where they are bytes, a text of Latin-1 from Python 2, or a list of values.
fn elements(machine: &mut Machine<'_>, datatype: &Datatype, id: Id) -> Result<Elements, Error> {
    match (machine.value(id), datatype.kind) {
        (Value::Bytes(bytes), kind) if kind != Kind::Object => Ok(Elements::Bytes(bytes.clone())),
        (Value::List(items), Kind::Object) => {
            let items: Rc<[Id]> = items.as_slice().into();
            machine.count(items.len() * size_of::<Id>())?;
            Ok(Elements::Objects(items))
        }
        (Value::Text(_), kind) if kind != Kind::Object => match latin1_bytes(machine, id, None)? {
            Value::Bytes(bytes) => Ok(Elements::Bytes(bytes)),
            _ => machine.fail("an array's elements are no bytes"),
        },
        (other, _) => {
            let reason = format!("the elements of an array of {} are {}", datatype.name(), other.describe());
            machine.fail(reason)
        }
    }
}

/// An array, if it has as many elements as its shape says.
fn array(
    machine: &Machine<'_>,
    datatype: Rc<Datatype>,
    shape: Vec<usize>,
    column_major: bool,
    elements: Elements,
) -> Result<Array, Error> {
    let count = shape.iter().try_fold(1_usize, |count, size| count.checked_mul(*size));
    let (wanted, found) = match &elements {
        Elements::Bytes(bytes) => {
            (count.and_then(|count| count.checked_mul(datatype.size)), machine.bytes(bytes).len())
        }
        Elements::Objects(items) => (count, items.len()),
    };
    // An element of no size, an empty text, would let a few bytes be any number of elements.
    if wanted != Some(found) || (datatype.size == 0 && count > Some(1 << 16)) {
        return machine.fail(format!("an array of {} with the shape {shape:?} has {found}", datatype.name()));
    }
    Ok(Array { datatype, shape, column_major, elements })
}

/// The state of an array: version, shape, type, order and elements.
fn with_elements(machine: &mut Machine<'_>, state: Id) -> Result<Array, Error> {
    let Value::Tuple(parts) = machine.value(state) else {
        return machine.fail("an array's state is no tuple");
    };
    let [.., shape, datatype, order, content] = parts.as_slice() else {
        return machine.fail("an array's state has too few parts");
    };
    let (shape, datatype, order, content) = (*shape, *datatype, *order, *content);
    let (shape, datatype) = (shape_of(machine, shape)?, datatype_of(machine, datatype)?);
    let column_major = is_column_major(machine, order);
    let elements = elements(machine, &datatype, content)?;
    array(machine, datatype, shape, column_major, elements)
}

/// The array that joblib wrote behind its description.
fn following(machine: &mut Machine<'_>, description: Id) -> Result<Array, Error> {
    machine.count(machine.size_of_dictionary(description))?;
    let part = |machine: &Machine<'_>, name: &str| match machine.entry(description, name) {
        Some(part) => Ok(part),
        None => machine.fail(format!("joblib's description of an array has no {name}")),
    };
    let (shape, datatype, order) =
        (part(machine, "shape")?, part(machine, "dtype")?, part(machine, "order")?);
    let (shape, datatype) = (shape_of(machine, shape)?, datatype_of(machine, datatype)?);
    let column_major = is_column_major(machine, order);
    if datatype.kind == Kind::Object {
        // A pickle of the array, which has its own order.
        let inner = machine.run()?;
        return match machine.value(inner) {
            Value::Array(array) => Ok(array.clone()),
            other => machine.fail(format!("instead of an array there is {}", other.describe())),
        };
    }
    let aligned = machine.entry(description, "numpy_array_alignment_bytes");
    if aligned.is_some_and(|alignment| !matches!(machine.value(alignment), Value::None)) {
        let padding = machine.byte()?;
        machine.take(usize::from(padding))?;
    }
    let length = shape.iter().try_fold(datatype.size, |length, size| length.checked_mul(*size));
    let Some(length) = length else { return machine.fail(format!("an array has the shape {shape:?}")) };
    let content = Elements::Bytes(Bytes::Source(machine.take(length)?));
    array(machine, datatype, shape, column_major, content)
}

/// The state of a type: version, order of bytes, base and shape of a type of arrays, names and fields of a record, size.
fn with_state(machine: &mut Machine<'_>, mut datatype: Datatype, state: Id) -> Result<Datatype, Error> {
    let Value::Tuple(parts) = machine.value(state) else {
        return machine.fail("a dtype's state is no tuple");
    };
    let [_, order, base, names, fields, size, ..] = parts.as_slice() else {
        return machine.fail("a dtype's state has too few parts");
    };
    if let Value::Text(order) = machine.value(*order) {
        datatype.big_endian = &**order == ">";
    }
    if !matches!(machine.value(*base), Value::None) {
        datatype.kind = Kind::Other('V');
    }
    if let (Value::Integer(size), Kind::Record | Kind::Text | Kind::Bytes) =
        (machine.value(*size), datatype.kind)
        && let Ok(size) = usize::try_from(*size)
    {
        datatype.size = size;
    }
    let (Value::Tuple(names), Value::Dictionary(_)) = (machine.value(*names), machine.value(*fields)) else {
        return Ok(datatype);
    };
    let (names, fields) = (names.clone(), *fields);
    // Each name is looked for among all fields.
    machine.count(names.len().saturating_mul(machine.size_of_dictionary(fields)))?;
    datatype.fields.clear();
    for name in names {
        let Value::Text(name) = machine.value(name) else { return machine.fail("a field's name is no text") };
        let field = machine.entry(fields, name).map(|field| machine.value(field));
        let Some(Value::Tuple(field)) = field else {
            return machine.fail(format!("the field {name} has no description"));
        };
        let [kind, place, ..] = field.as_slice() else {
            return machine.fail(format!("the field {name} has no place"));
        };
        let (kind, Value::Integer(place)) = (datatype_of(machine, *kind)?, machine.value(*place)) else {
            return machine.fail(format!("the place of the field {name} is no number"));
        };
        let end = usize::try_from(*place).ok().and_then(|place| Some((place, place.checked_add(kind.size)?)));
        match end {
            Some((place, end)) if end <= datatype.size => {
                datatype.fields.push((Rc::clone(name), place, kind));
            }
            _ => return machine.fail(format!("the field {name} is outside its record")),
        }
    }
    Ok(datatype)
}
