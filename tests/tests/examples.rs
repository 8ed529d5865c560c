//! The jobs of `examples/` are jobs: every key known, every value allowed, every input there.

use std::process::Command;
use tests::process::{coordinator, examples, output_of};

#[test]
fn every_example_can_be_planned() {
    let mut planned = 0;
    for file in std::fs::read_dir(examples()).expect("the folder of the examples") {
        let path = file.expect("an entry").path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let mut command: Command = coordinator();
        let output = output_of(command.arg("plan").arg(&path));
        assert!(output.status.success(), "{}: {output:?}", path.display());
        planned += 1;
    }
    assert!(planned >= 4, "{planned} jobs");
}
