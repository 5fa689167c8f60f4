//! Columns of the `Table` form.
