//! Facts about a graph, for people.

use super::tables::{right, table};
use indicatif::HumanCount;
use model::facts::{Components, Facts, Linked, Links, Side};
use tensor::ByteSize;

/// A line each, and two tables.
pub fn lines(facts: &Facts) -> Vec<String> {
    let (components, square) = (&facts.components, &facts.square);
    let assortativity = facts.assortativity.map_or_else(
        || "none: a side does not vary".to_owned(),
        |r| format!("{r:.4}"),
    );
    let mut lines = vec![
        format!(
            "graph: {} edges out of {} interactions, density {:.3e}",
            HumanCount(facts.edges),
            HumanCount(facts.interactions),
            facts.density
        ),
        sides(facts),
        String::new(),
        histogram(facts),
        String::new(),
        format!("components with an edge: {}", connected(components)),
        format!("correlation of degrees over edges: {assortativity}"),
        format!(
            "A²: about {} entries of at most {}, {}; {} multiplications make it, and a product with it costs {:.1} times two with A",
            HumanCount(square.entries as u64),
            HumanCount(square.entries_most),
            ByteSize(square.bytes as u64),
            HumanCount(square.multiplications),
            square.cost_over_two_products
        ),
    ];
    lines.extend(facts.linked.iter().flat_map(linked));
    lines
}

fn connected(components: &Components) -> String {
    format!(
        "{}; the largest has {} users and {} products, {:.1} % of the nodes with edges",
        HumanCount(components.count),
        HumanCount(components.largest_users),
        HumanCount(components.largest_products),
        100.0 * components.largest_share
    )
}

/// What edges between users and between products add.
fn linked(linked: &Linked) -> Vec<String> {
    let kinds = [("users", &linked.users), ("products", &linked.products)];
    let kinds = kinds
        .iter()
        .filter_map(|(name, links)| Some((name, links.as_ref()?)));
    let mut lines = vec![String::new()];
    lines.extend(kinds.map(|(name, links)| of_kind(name, links)));
    lines.push(format!(
        "with these edges, components: {}; alone are {} users and {} products",
        connected(&linked.components),
        HumanCount(linked.isolated_users),
        HumanCount(linked.isolated_products)
    ));
    lines
}

fn of_kind(name: &str, links: &Links) -> String {
    let degrees = &links.degrees;
    format!(
        "edges between {name}: {}{}; of a row {:.2} in the mean, {} in the median, {} at most; {} have none",
        HumanCount(links.edges),
        if links.directed {
            ", one way"
        } else {
            ", both ways counted"
        },
        degrees.mean,
        HumanCount(degrees.median.into()),
        HumanCount(degrees.max.into()),
        HumanCount(links.isolated)
    )
}

/// A name, and what is shown of a side.
type Line = (&'static str, fn(&Side) -> String);

const LINES: [Line; 13] = [
    ("nodes", |side| count(side.nodes)),
    ("isolated", |side| count(side.isolated)),
    ("degree: least", |side| count(side.degrees.min.into())),
    ("median", |side| count(side.degrees.median.into())),
    ("mean", |side| format!("{:.2}", side.degrees.mean)),
    ("90 %", |side| count(side.degrees.p90.into())),
    ("99 %", |side| count(side.degrees.p99.into())),
    ("most", |side| count(side.degrees.max.into())),
    ("Gini", |side| format!("{:.3}", side.degrees.gini)),
    ("with the same neighbours as another", |side| {
        let same = &side.same_neighbours;
        format!("{} ({:.1} %)", count(same.nodes), 100.0 * same.share)
    }),
    ("walks of length two, mean", |side| {
        format!("{:.0}", side.two_hops.mean)
    }),
    ("most", |side| count(side.two_hops.max)),
    ("nodes that they reach, mean", |side| {
        let nodes = side.nodes.max(1) as f64;
        let hops = &side.two_hops;
        format!(
            "{:.0} ± {:.1}",
            hops.entries / nodes,
            hops.entries_error / nodes
        )
    }),
];

fn count(number: u64) -> String {
    HumanCount(number).to_string()
}

fn sides(facts: &Facts) -> String {
    let mut table = table(["", "users", "products"]);
    for (name, of) in LINES {
        table.add_row([name.to_owned(), of(&facts.users), of(&facts.products)]);
    }
    right(table).to_string()
}

/// Rows by powers of two.
fn histogram(facts: &Facts) -> String {
    let mut table = table(["degree from", "users", "products"]);
    let sides = [&facts.users, &facts.products].map(|side| &side.degrees.histogram);
    let last = sides
        .iter()
        .filter_map(|bins| bins.last())
        .map(|bin| bin.from);
    let last = last.max().unwrap_or(0);
    let powers = (0..64).map(|log| 1_u64 << log);
    for from in powers.take_while(|&from| from <= last) {
        let nodes = sides.map(|bins| {
            let bin = bins.iter().find(|bin| bin.from == from);
            count(bin.map_or(0, |bin| bin.nodes))
        });
        let [users, products] = nodes;
        table.add_row([count(from), users, products]);
    }
    right(table).to_string()
}
