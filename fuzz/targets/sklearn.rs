//! A model of scikit-learn, asked for two rows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_tabular::Table;
use runtime_sklearn::Model;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Model::read(data.to_vec()) else { return };
    let columns = model.columns().count;
    // Wide rows take time, and show nothing that narrow ones do not.
    if columns < 1000 {
        let table = Table::new(columns, vec![1.5; columns * 2]);
        let _ = model.predict(table.clone());
        let _ = model.probabilities(table);
    }
});
