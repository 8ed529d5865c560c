//! What people call what the engine has short words for.

/// A ranker of an evaluation.
pub fn ranker(word: &str) -> String {
    match word {
        "model" => "This model".to_owned(),
        "model_with_rules" => "This model under the rules".to_owned(),
        "popularity" => "Most popular".to_owned(),
        "popularity_recent" => "Popular lately".to_owned(),
        "own_count" => "Own most bought".to_owned(),
        "own_recent" => "Own bought lately".to_owned(),
        "item_knn" => "Similar products".to_owned(),
        other => other.replace('_', " "),
    }
}

/// A rule, inside a sentence.
pub fn rule(word: &str) -> String {
    match word {
        "popularity" => "listing the most popular products to everybody".to_owned(),
        "popularity_recent" => {
            "listing the products that were popular lately to everybody".to_owned()
        }
        "own_count" => "listing what a customer has bought most often".to_owned(),
        "own_recent" => "listing what a customer has bought most often of late".to_owned(),
        "item_knn" => "listing products similar to those that a customer has bought".to_owned(),
        other => format!("the rule “{}”", other.replace('_', " ")),
    }
}

/// Slices as people think of them, users first.
const SLICES: [&str; 6] = [
    "cold users",
    "light users",
    "heavy users",
    "rare products",
    "common products",
    "top products",
];

/// Where a slice stands among others; those of other names come last, by name.
pub fn slice_place(name: &str) -> (usize, &str) {
    let known = SLICES.iter().position(|known| *known == name);
    (known.unwrap_or(SLICES.len()), name)
}

/// A measure, as in `recall@20`.
pub fn measure(word: &str) -> String {
    let (name, k) = word.split_once('@').unwrap_or((word, ""));
    let name = match name {
        "ndcg" => "NDCG",
        "map" => "MAP",
        "mean_popularity" | "popularity" => "mean popularity",
        other => other,
    };
    if k.is_empty() {
        name.to_owned()
    } else {
        format!("{name}@{k}")
    }
}

/// What was measured after an epoch, as in `new_products ndcg@20`.
pub fn metric(word: &str) -> String {
    match word.split_once(' ') {
        Some((task, name)) => format!("{}, {}", measure(name), task.replace('_', " ")),
        None => measure(word),
    }
}

/// A phase of a run.
pub fn phase(word: &str) -> String {
    match word {
        "ingest" => "Reading the data".to_owned(),
        "views" => "Splitting".to_owned(),
        "train" => "Training".to_owned(),
        "evaluate" => "Evaluation".to_owned(),
        "recommend" => "Recommendations".to_owned(),
        "similar" => "Similar rows".to_owned(),
        "graph" => "Facts of the graph".to_owned(),
        "examples" => "Examples".to_owned(),
        "attributes" => "Reading attributes".to_owned(),
        "edges" => "Reading edges".to_owned(),
        other => other.to_owned(),
    }
}

/// A number of things: `1 week`, `4 weeks`.
pub fn several(count: u64, one: &str) -> String {
    let shown = super::number::count(count);
    if count == 1 {
        format!("{shown} {one}")
    } else {
        format!("{shown} {one}s")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_of_later_versions_are_readable() {
        assert_eq!(ranker("segment_popularity"), "segment popularity");
        assert_eq!(rule("segment_popularity"), "the rule “segment popularity”");
        assert_eq!(measure("ndcg@20"), "NDCG@20");
        assert_eq!(measure("rmse"), "rmse");
        let mut slices = ["x", "top products", "a", "light users"];
        slices.sort_by_key(|name| slice_place(name));
        assert_eq!(slices, ["light users", "top products", "a", "x"]);
        assert_eq!(several(1, "week"), "1 week");
        assert_eq!(several(1200, "week"), "1,200 weeks");
    }
}
