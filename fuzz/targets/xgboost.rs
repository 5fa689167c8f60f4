//! A model of XGBoost, asked for two rows.
#![no_main]

use libfuzzer_sys::fuzz_target;
use purlin_tabular::Table;
use runtime_xgboost::Booster;

fuzz_target!(|data: &[u8]| {
    let Ok(model) = Booster::read(data) else { return };
    let columns = model.columns().count;
    // Wide rows take time, and show nothing that narrow ones do not.
    if columns < 1000 {
        let table = Table::new(columns, vec![1.5; columns * 2]);
        model.predict(table);
    }
});
