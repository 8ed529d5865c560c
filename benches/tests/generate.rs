//! The generator of the matrix as a program: the same flags give the same bytes.

use std::process::Command;

#[test]
fn the_same_flags_give_the_same_file() {
    let folder = std::env::temp_dir().join(format!("strata-generate-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let made = |name: &str| {
        let path = folder.join(name);
        let status = Command::new(env!("CARGO_BIN_EXE_generate-matrix"))
            .arg(&path)
            .args(["--users", "300", "--products", "200"])
            .args(["--interactions", "5000", "--row-group", "1000"])
            .status();
        assert!(status.unwrap().success());
        std::fs::read(path).unwrap()
    };
    let (one, two) = (made("one.parquet"), made("two.parquet"));
    std::fs::remove_dir_all(&folder).unwrap();
    assert!(one.len() > 1000 && one == two);
}
