//! Writes the generated matrix as Parquet: `generate-matrix FILE [--users N] [--products N] [--interactions N]
//! [--row-group ROWS]`.

use benches::matrix::Matrix;
use std::path::Path;

fn main() {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let number = |name: &str, usual: usize| {
        let at = words.iter().position(|word| word == name);
        at.map_or(usual, |at| {
            words
                .get(at + 1)
                .and_then(|word| word.parse().ok())
                .unwrap_or_else(|| panic!("{name} takes a number"))
        })
    };
    let file = words.first().filter(|word| !word.starts_with("--"));
    let Some(file) = file else {
        eprintln!(
            "usage: generate-matrix FILE [--users N] [--products N] [--interactions N] [--row-group ROWS]"
        );
        std::process::exit(64);
    };
    let matrix = Matrix::generate(
        number("--users", 200_000),
        number("--products", 50_000),
        number("--interactions", 20_000_000),
    );
    let group = number("--row-group", 250_000);
    benches::parquet::write(&matrix, Path::new(file), group).expect("the file can be written");
    println!("{} interactions in {file}", matrix.ids.len());
}
