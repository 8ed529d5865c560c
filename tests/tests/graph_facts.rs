//! Facts about graphs, against plain sums over sets in memory: small graphs written by hand and a random one; whatever must not
//! matter.

use arrow::array::{ArrayRef, Int64Array};
use model::facts::{Facts, GraphFacts, Input};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::IoMode;
use tables::EdgeSpec;
use tensor::Mode;
use tests::ingested::{DAY, Row, inputs, parquet_of, some_rows};
use tests::inline::InlineError;
use tests::jobs::{Data, Inputs, Job};
use tests::linked::{entries, link, linked_bed, spec};
use tests::process::{Daemon, addresses, coordinator, json_of};
use tests::tiled::{Bed, bed_in_bins};

fn rows(pairs: &[(i64, i64)]) -> Vec<Row> {
    let row = |(i, &(user, product)): (usize, &(i64, i64))| Row {
        user,
        product,
        // Pairs come twice, in different weeks: edges count once.
        seconds: (17_167 + 7 * (i / pairs.len()) as i64) * DAY,
        value: 1.0,
    };
    let twice = pairs.iter().chain(pairs).enumerate();
    twice.map(row).collect()
}

fn facts(bed: &mut Bed) -> Result<Facts, InlineError> {
    let data = &bed.found.data;
    let mut program = GraphFacts::new(Input {
        user: data.user.grid.clone(),
        product: data.product.grid.clone(),
        interactions: data.parts[0].1.clone(),
        edges: data.edges.clone(),
    });
    bed.found.world.run(&mut program, &exec::begin)?;
    assert!(bed.found.world.objects.is_empty(), "nothing is left");
    Ok(program.found().unwrap().clone())
}

fn of_pairs(pairs: &[(i64, i64)]) -> Facts {
    facts(&mut bed_in_bins(&rows(pairs), IoMode::Mmap)).unwrap()
}

/// R = [1 1 0; 0 1 1] of two users and three products.
#[test]
fn two_users_and_three_products() {
    let found = of_pairs(&[(1, 1), (1, 2), (2, 2), (2, 3)]);
    assert_eq!((found.edges, found.interactions), (4, 8));
    assert!((found.density - 4.0 / 6.0).abs() < 1e-15);
    let (users, products) = (&found.users, &found.products);
    assert_eq!((users.nodes, users.isolated), (2, 0));
    assert_eq!((users.degrees.min, users.degrees.max), (2, 2));
    assert_eq!((users.degrees.mean, users.degrees.gini), (2.0, 0.0));
    assert_eq!((products.degrees.median, products.degrees.max), (1, 2));
    // Degrees 1, 1, 2: (−2 · 1 + 0 · 1 + 2 · 2) / (3 · 4).
    assert!((products.degrees.gini - 2.0 / 12.0).abs() < 1e-15);
    // R Rᵀ = [2 1; 1 2] and Rᵀ R = [1 1 0; 1 2 1; 0 1 1]: walks are their sums, entries what is not 0.
    assert_eq!((users.two_hops.walks, users.two_hops.max), (6, 3));
    assert_eq!((products.two_hops.walks, products.two_hops.max), (8, 4));
    assert_eq!((users.two_hops.entries, users.two_hops.sampled), (4.0, 2));
    assert_eq!(
        (products.two_hops.entries, products.two_hops.sampled),
        (7.0, 3)
    );
    assert_eq!(users.two_hops.entries_error, 0.0);
    assert_eq!(found.square.entries_most, 4 + 2 + 3 + 2);
    assert_eq!(
        (found.square.entries, found.square.multiplications),
        (11.0, 14)
    );
    assert_eq!(found.square.bytes, 8.0 * (11.0 + 5.0));
    assert_eq!(found.square.cost_over_two_products, 11.0 / 16.0);
    assert_eq!(
        (found.components.count, found.components.largest_share),
        (1, 1.0)
    );
    assert_eq!(found.users.same_neighbours.groups, 0);
    // Users do not vary in their degree.
    assert_eq!(found.assortativity, None);
}

#[test]
fn a_long_path_and_a_part_beside_it() {
    // u0 p0 u1 p1 ... u99 p99 in one chain; a user with two products apart; and two users with the same one product.
    let mut pairs: Vec<(i64, i64)> = (0..100).map(|i| (i * 37 % 100, i * 53 % 100)).collect();
    pairs.extend((1..100).map(|i| (i * 37 % 100, (i - 1) * 53 % 100)));
    pairs.extend([(200, 200), (200, 201), (300, 300), (301, 300)]);
    let found = of_pairs(&pairs);
    let components = found.components;
    assert_eq!(components.count, 3);
    assert_eq!(
        (components.largest_users, components.largest_products),
        (100, 100)
    );
    assert_eq!(components.largest_share, 200.0 / 206.0);
    let same = found.users.same_neighbours;
    assert_eq!((same.groups, same.nodes, same.largest), (1, 2, 2));
    assert_eq!(same.share, 2.0 / 103.0);
    let same = found.products.same_neighbours;
    assert_eq!((same.groups, same.nodes), (1, 2));
}

/// Everything anew, over sets and in f64.
fn naive(edges: &BTreeSet<(u32, u32)>, users: u64, products: u64, found: &Facts) {
    let close = |found: f64, expected: f64, what: &str| {
        let off = (found - expected).abs();
        assert!(
            off <= 1e-9 * expected.abs().max(1.0),
            "{what}: {found} {expected}"
        );
    };
    let mut sides: [BTreeMap<u32, BTreeSet<u32>>; 2] = Default::default();
    for &(user, product) in edges {
        sides[0].entry(user).or_default().insert(product);
        sides[1].entry(product).or_default().insert(user);
    }
    assert_eq!(found.edges, edges.len() as u64);
    close(
        found.density,
        edges.len() as f64 / (users * products) as f64,
        "density",
    );
    let mut entries = 0;
    for (at, side, nodes) in [(0, &found.users, users), (1, &found.products, products)] {
        let (near, far) = (&sides[at], &sides[1 - at]);
        assert_eq!(
            (side.nodes, side.isolated),
            (nodes, nodes - near.len() as u64)
        );
        let mut degrees: Vec<f64> = near.values().map(|row| row.len() as f64).collect();
        degrees.resize(nodes as usize, 0.0);
        degrees.sort_by(f64::total_cmp);
        let quantile = |share: f64| degrees[(share * degrees.len() as f64).ceil() as usize - 1];
        close(side.degrees.median.into(), quantile(0.5), "median");
        close(side.degrees.p90.into(), quantile(0.9), "p90");
        close(side.degrees.p99.into(), quantile(0.99), "p99");
        close(side.degrees.mean, edges.len() as f64 / nodes as f64, "mean");
        let walks = near
            .values()
            .map(|row| row.iter().map(|node| far[node].len() as u64).sum());
        let walks: Vec<u64> = walks.collect();
        assert_eq!(side.two_hops.walks, walks.iter().sum::<u64>());
        assert_eq!(side.two_hops.max, walks.iter().copied().max().unwrap());
        let reached = near.values().map(|row| {
            let all: BTreeSet<u32> = row.iter().flat_map(|node| &far[node]).copied().collect();
            all.len() as u64
        });
        let reached: u64 = reached.sum();
        entries += reached;
        assert_eq!(side.two_hops.sampled, 256.min(near.len() as u64));
        if near.len() <= 256 {
            close(side.two_hops.entries, reached as f64, "entries");
        } else {
            let off = (side.two_hops.entries - reached as f64).abs();
            assert!(side.two_hops.entries_error > 0.0);
            assert!(
                off < 4.0 * side.two_hops.entries_error,
                "{:?} {reached}",
                side.two_hops
            );
        }
        let mut groups: BTreeMap<&BTreeSet<u32>, u64> = BTreeMap::new();
        for row in near.values() {
            *groups.entry(row).or_default() += 1;
        }
        let several: Vec<u64> = groups.into_values().filter(|&rows| rows > 1).collect();
        assert_eq!(side.same_neighbours.groups, several.len() as u64);
        assert_eq!(side.same_neighbours.nodes, several.iter().sum::<u64>());
    }
    assert!(found.square.entries_most >= entries);
    let ends: Vec<(f64, f64)> = edges
        .iter()
        .map(|(user, product)| (sides[0][user].len() as f64, sides[1][product].len() as f64))
        .collect();
    let mean =
        |of: &dyn Fn(&(f64, f64)) -> f64| ends.iter().map(of).sum::<f64>() / ends.len() as f64;
    let (x, y) = (mean(&|end| end.0), mean(&|end| end.1));
    let both = mean(&|end| (end.0 - x) * (end.1 - y));
    let size = mean(&|end| (end.0 - x).powi(2)) * mean(&|end| (end.1 - y).powi(2));
    close(
        found.assortativity.unwrap(),
        both / size.sqrt(),
        "assortativity",
    );
    // Components by spreading the least label until nothing changes.
    let mut label: BTreeMap<(usize, u32), u32> = BTreeMap::new();
    let nodes = sides[0]
        .keys()
        .map(|&user| (0, user))
        .chain(sides[1].keys().map(|&product| (1, product)));
    label.extend(nodes.zip(0..));
    let mut changed = true;
    while changed {
        changed = false;
        for &(user, product) in edges {
            let least = label[&(0, user)].min(label[&(1, product)]);
            for end in [(0, user), (1, product)] {
                changed |= label.insert(end, least) != Some(least);
            }
        }
    }
    let mut sizes: BTreeMap<u32, u64> = BTreeMap::new();
    for &least in label.values() {
        *sizes.entry(least).or_default() += 1;
    }
    assert_eq!(found.components.count, sizes.len() as u64);
    let largest = found.components.largest_users + found.components.largest_products;
    assert_eq!(largest, sizes.values().copied().max().unwrap());
}

#[test]
fn a_random_graph_is_what_sets_say() {
    let sparse: Vec<Row> = some_rows(900, 4)
        .into_iter()
        .enumerate()
        .map(|(i, row)| Row {
            user: (row.user * 31 + i as i64 * 7) % 700,
            product: (row.product * 17 + i as i64) % 500,
            ..row
        })
        .collect();
    for rows in [some_rows(4_000, 7), sparse] {
        let mut bed = bed_in_bins(&rows, IoMode::Mmap);
        let found = facts(&mut bed).unwrap();
        let interactions = bed.found.rows(&bed.found.data.parts[0].1);
        let edges = interactions
            .keys()
            .map(|&(user, product, _)| (user, product))
            .collect();
        let data = &bed.found.data;
        let nodes = [&data.user.grid, &data.product.grid].map(tensor::Grid::rows_total);
        naive(&edges, nodes[0], nodes[1], &found);
    }
}

/// The training view of the bed leaves some users and products without an edge.
#[test]
fn isolated_nodes_are_counted_and_walked_around() {
    let mut bed = bed_in_bins(&some_rows(600, 9), IoMode::Mmap);
    bed.found.data.parts[0].1 = bed.input.train.clone();
    let found = facts(&mut bed).unwrap();
    assert!(
        found.users.isolated + found.products.isolated > 0,
        "{found:?}"
    );
    let edges = bed
        .found
        .rows(&bed.input.train)
        .into_keys()
        .map(|(user, product, _)| (user, product));
    let nodes = [&bed.input.user, &bed.input.product].map(tensor::Grid::rows_total);
    naive(&edges.collect(), nodes[0], nodes[1], &found);
}

/// A hand-made graph: two users of one product, a third whom only a friend joins, a product that another belongs to, a loop, and rows
/// that nothing joins with another.
#[test]
fn edges_between_users_and_between_products_join_components() {
    let pairs = [(1, 10), (2, 10), (3, 11), (4, 12), (5, 13), (6, 14)];
    let mut bed = bed_in_bins(&rows(&pairs), IoMode::Mmap);
    let list = |ends: &[(i64, i64)]| {
        let column = |of: fn(&(i64, i64)) -> i64| -> ArrayRef {
            Arc::new(ends.iter().map(of).collect::<Int64Array>())
        };
        inputs(&[parquet_of(
            vec![("a", column(|end| end.0)), ("b", column(|end| end.1))],
            100,
        )])
    };
    let alone = facts(&mut bed).unwrap();
    assert_eq!((alone.components.count, alone.linked.clone()), (5, None));
    let users = EdgeSpec {
        directed: true,
        ..spec(Mode::User)
    };
    link(&mut bed.found, &list(&[(3, 1), (3, 2), (5, 5)]), &users).unwrap();
    link(
        &mut bed.found,
        &list(&[(12, 13), (12, 12)]),
        &spec(Mode::Product),
    )
    .unwrap();
    let found = facts(&mut bed).unwrap();
    let linked = found.linked.clone().unwrap();
    // u1 u2 u3 p10 p11, u4 u5 p12 p13, u6 p14.
    let components = linked.components;
    assert_eq!((components.count, components.largest_users), (3, 3));
    assert_eq!(components.largest_products, 2);
    assert_eq!(components.largest_share, 5.0 / 11.0);
    assert_eq!((linked.isolated_users, linked.isolated_products), (0, 0));
    let (users, products) = (linked.users.unwrap(), linked.products.unwrap());
    assert_eq!((users.edges, users.directed, users.isolated), (3, true, 4));
    assert_eq!((users.degrees.max, users.degrees.median), (2, 0));
    assert_eq!((products.edges, products.directed), (3, false));
    assert_eq!((products.isolated, products.degrees.max), (3, 2));
    let without = Facts {
        linked: None,
        ..found
    };
    assert_eq!(without, alone);
}

/// Against labels that spread along all edges, where training leaves nodes without an interaction.
#[test]
fn components_with_edges_are_those_of_the_whole_graph() {
    for directed in [true, false] {
        let mut bed = linked_bed(&some_rows(600, 9), directed, IoMode::Mmap);
        bed.found.data.parts[0].1 = bed.input.train.clone();
        let found = facts(&mut bed).unwrap().linked.unwrap();
        let mut edges: Vec<[(usize, u32); 2]> = Vec::new();
        let interactions = bed.found.rows(&bed.input.train).into_keys();
        edges.extend(interactions.map(|(user, product, _)| [(0, user), (1, product)]));
        for (side, mode) in [Mode::User, Mode::Product].into_iter().enumerate() {
            let of = &bed.found.data.edges[&mode];
            let entries = entries(&bed.found, mode, &of.forward).into_keys();
            edges.extend(entries.map(|(from, to)| [(side, from), (side, to)]));
        }
        edges.retain(|[from, to]| from != to);
        let nodes: BTreeSet<(usize, u32)> = edges.iter().flatten().copied().collect();
        let mut label: BTreeMap<(usize, u32), u32> = nodes.iter().copied().zip(0..).collect();
        let mut changed = true;
        while changed {
            changed = false;
            for ends in &edges {
                let least = label[&ends[0]].min(label[&ends[1]]);
                for end in ends {
                    changed |= label.insert(*end, least) != Some(least);
                }
            }
        }
        let mut sizes: BTreeMap<u32, [u64; 2]> = BTreeMap::new();
        for ((side, _), least) in &label {
            sizes.entry(*least).or_default()[*side] += 1;
        }
        assert_eq!(found.components.count, sizes.len() as u64);
        let largest = sizes.values().max_by_key(|size| size[0] + size[1]).unwrap();
        let told = [
            found.components.largest_users,
            found.components.largest_products,
        ];
        assert_eq!(told, *largest);
        let of_side = |side| nodes.iter().filter(|node| node.0 == side).count() as u64;
        let data = &bed.found.data;
        let rows = [&data.user.grid, &data.product.grid].map(tensor::Grid::rows_total);
        assert_eq!(found.isolated_users, rows[0] - of_side(0));
        assert_eq!(found.isolated_products, rows[1] - of_side(1));
    }
}

#[test]
fn neither_budget_nor_order_nor_io_change_a_fact() {
    let mut rows = some_rows(60_000, 5);
    // A user whose row is cut, inside runs of one product: 60 products in each of 700 weeks.
    rows.extend((0..42_000).map(|i| Row {
        user: 7,
        product: i / 700,
        seconds: (10_000 + 7 * (i % 700)) * DAY,
        value: 1.0,
    }));
    let expected = facts(&mut bed_in_bins(&rows, IoMode::Mmap)).unwrap();
    let mut other = bed_in_bins(&rows, IoMode::Pread);
    other.found.world.backwards = true;
    other.found.world.room.budget_bytes = 1_000;
    let found = loop {
        match facts(&mut other) {
            Ok(found) => break found,
            Err(InlineError::Task(plan::Failure::Budget { enough, .. })) => {
                other.found.world.room.budget_bytes = enough.0;
                other.found.world.objects.clear();
            }
            Err(error) => panic!("{error}"),
        }
    };
    assert_eq!(found, expected);
    assert!(other.found.world.cut_rows > 0);
}

/// A heavy user among ordinary ones: one or two workers in the process, with ample or little memory, and two daemons tell the
/// same, and leave the data set as it was.
#[test]
fn the_verb_tells_the_same_on_any_cluster() {
    let inputs = Inputs::of(&[Data::Generated]);
    let job = Job::of(&inputs, Data::Generated, "kind = \"als\"", "");
    json_of(&mut job.command("ingest", &[]));
    let data = job.folder().join("data");
    let caches = tempfile::tempdir().unwrap();
    let daemons = ["one", "two"].map(|cache| {
        let arguments = ["--memory", "512MiB", "--threads", "1"];
        Daemon::start(&caches.path().join(cache), &arguments)
    });
    let daemons = addresses(&daemons);
    let tell = |arguments: &[&str]| {
        let mut command = coordinator();
        command.args(["--json", "inspect", "--graph"]).arg(&data);
        let found = json_of(command.args(arguments));
        (found["graph"].clone(), found["views"].clone())
    };
    let (expected, views) = tell(&["--workers", "1", "--memory", "2GiB"]);
    assert!(expected["edges"].as_u64().unwrap() > 10_000, "{expected}");
    assert_eq!(views, 0);
    for arguments in [
        ["--workers", "2", "--memory", "512MiB"],
        ["--workers", &daemons, "--simd", "portable"],
    ] {
        assert_eq!(tell(&arguments).0, expected, "{arguments:?}");
    }
}
