//! What models have in common, and what they cannot tell apart (docs/equivalences.md): by hand on a matrix of 2 × 3, densely in
//! f64, and with the engine's own models.

use arrow::array::{ArrayRef, Int64Array, StringArray};
use model::als::{self, Als, Preset, Solver};
use model::facts::{GraphFacts, Input};
use model::graph::gcn::{self, Features, Gcn, SelfWeights};
use model::graph::learning::Learning;
use model::graph::spectral::{self, Spectral};
use model::graph::tiles::Caches;
use model::graph::{Activation, Edges, Normalization};
use model::{Holds, Training};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use store::IoMode;
use tensor::{Mode, Partitions, Small};
use tests::dense::{Dense, matrix, table};
use tests::ingested::{DAY, Row, parquet_of, some_rows};
use tests::tiled::{Bed, bed};

/// The factors of users and of products, a row each.
type Factors = [Dense; 2];

fn graph(bed: &Bed, train: &Partitions) -> model::graph::Input {
    model::graph::Input {
        train: train.clone(),
        ..bed.graph(Caches::default())
    }
}

fn spectral(bed: &mut Bed, train: &Partitions, settings: &spectral::Settings) -> Factors {
    let mut program = Spectral::new(settings.clone(), graph(bed, train)).unwrap();
    run(bed, &mut program)
}

fn gcn(bed: &mut Bed, train: &Partitions, settings: &gcn::Settings) -> Factors {
    let input = gcn::Input {
        graph: graph(bed, train),
        attributes: bed.found.data.attributes.clone(),
        matrices: None,
    };
    let mut program = Gcn::new(settings.clone(), input).unwrap();
    run(bed, &mut program)
}

fn als(bed: &mut Bed, train: &Partitions, settings: &als::Settings) -> Factors {
    let input = als::Input {
        user: bed.input.user.clone(),
        product: bed.input.product.clone(),
        small: Small::default(),
        train: train.clone(),
        attributes: BTreeMap::new(),
        edges: BTreeMap::new(),
        given: BTreeMap::new(),
        decay: None,
        folds: None,
    };
    let mut program = Als::new(settings.clone(), input).unwrap();
    run(bed, &mut program)
}

fn run(bed: &mut Bed, program: &mut dyn Training) -> Factors {
    bed.found.world.objects.clear();
    bed.found.world.run(program, &exec::begin).unwrap();
    let tables = program.tables();
    [Mode::User, Mode::Product].map(|mode| {
        let of = |table: &&model::TableVersion| table.mode == mode && table.holds == Holds::Factors;
        let found = tables.iter().find(of).unwrap();
        table(
            &bed.found.world.bytes_of(found.keys()),
            found.width as usize,
        )
    })
}

fn scores([users, products]: &Factors) -> Dense {
    users.times(&products.transposed())
}

/// A = [0 R; Rᵀ 0].
fn adjacency(r: &Dense) -> Dense {
    let (m, n) = (r.rows(), r.columns);
    Dense::from(m + n, m + n, |i, j| match (i < m, j < m) {
        (true, false) => r.at(i, j - m),
        (false, true) => r.at(j, i - m),
        _ => 0.0,
    })
}

/// Its user-product block.
fn user_product(r: &Dense, of: &Dense) -> Dense {
    Dense::from(r.rows(), r.columns, |i, j| of.at(i, r.rows() + j))
}

/// Its best approximation of a rank, by the values that are largest in size.
fn best_of_symmetric(a: &Dense, rank: usize) -> Dense {
    let (values, vectors) = a.eigen();
    let mut largest: Vec<usize> = (0..a.columns).collect();
    largest.sort_by(|&i, &j| values[j].abs().total_cmp(&values[i].abs()));
    largest.truncate(rank);
    Dense::from(a.columns, a.columns, |i, j| {
        let terms = largest.iter();
        terms
            .map(|&k| vectors.at(k, i) * values[k] * vectors.at(k, j))
            .sum()
    })
}

/// Edges written down as (user, product), all in one week.
fn rows(pairs: impl IntoIterator<Item = (i64, i64)>) -> Vec<Row> {
    let row = |(user, product)| Row {
        user,
        product,
        seconds: 17_167 * DAY,
        value: 1.0,
    };
    pairs.into_iter().map(row).collect()
}

/// A bed of these edges, all of them trained on.
fn bed_of(pairs: impl IntoIterator<Item = (i64, i64)>) -> (Bed, Partitions) {
    let bed = bed(&rows(pairs), IoMode::Mmap);
    let all = bed.found.data.parts[0].1.clone();
    (bed, all)
}

/// Each once, so that values are 1.
fn some_edges() -> BTreeSet<(i64, i64)> {
    let rows = some_rows(900, 3).into_iter();
    rows.map(|row| (row.user.rem_euclid(50), row.product % 30))
        .collect()
}

/// R = [1 1 0; 0 1 1]: σ = √3 with (1, 1)/√2 and (1, 2, 1)/√6, σ = 1 with (1, −1)/√2 and (1, 0, −1)/√2.
#[test]
fn a_graph_of_two_users_and_three_products_by_hand() {
    let (mut bed, all) = bed_of([(1, 1), (1, 2), (2, 2), (2, 3)]);
    // Rows stand where their counts put them: product 2 first, the others by id.
    let r = matrix(&bed.found, &all, Edges::Binary);
    let middle = (0..3).find(|&j| r.at(0, j) + r.at(1, j) == 2.0).unwrap();
    let a = adjacency(&r);
    let root = 3_f64.sqrt();
    let (mut values, _) = a.eigen();
    values.sort_by(f64::total_cmp);
    for (value, expected) in values.iter().zip([-root, -1.0, 0.0, 1.0, root]) {
        assert!((value - expected).abs() < 1e-12, "{values:?}");
    }
    // Two users share one product; products share the user who bought both.
    let two = a.times(&a);
    assert_eq!([two.at(0, 0), two.at(0, 1), two.at(1, 1)], [2.0, 1.0, 2.0]);
    // R Rᵀ R = [2 3 1; 1 3 2].
    let three = user_product(&r, &two.times(&a));
    let mut cells = three.cells.clone();
    cells.sort_by(f64::total_cmp);
    assert_eq!(cells, [1.0, 1.0, 2.0, 2.0, 3.0, 3.0]);
    assert_eq!([three.at(0, middle), three.at(1, middle)], [3.0, 3.0]);
    // Of rank 1: √3 · (1, 1)/√2 · (1, 2, 1)/√6, with walks of length 3 √3 + 3 √3 in place of √3.
    for (walk_length, times) in [(1, 1.0), (2, 1.0), (3, 4.0)] {
        let settings = spectral::Settings {
            rank: 1,
            epochs: 8,
            walk_length,
            ..spectral::Settings::default()
        };
        let found = scores(&spectral(&mut bed, &all, &settings));
        for (at, cell) in found.cells.iter().enumerate() {
            let expected = times * if at % 3 == middle { 1.0 } else { 0.5 };
            assert!((cell - expected).abs() < 1e-5, "{walk_length}: {found:?}");
        }
    }
}

/// The values of A are ±σ and 0, each pair with (u, ±v)/√2.
#[test]
fn the_graph_of_twice_the_rank_is_the_matrix_of_the_rank() {
    let (mut bed, all) = bed_of(some_edges());
    let r = matrix(&bed.found, &all, Edges::Binary);
    let of_graph = best_of_symmetric(&adjacency(&r), 10);
    let (_, of_matrix) = r.best(5, |value| value);
    assert!(user_product(&r, &of_graph).minus(&of_matrix).size() < 1e-9);
    let settings = spectral::Settings {
        rank: 5,
        epochs: 20,
        ..spectral::Settings::default()
    };
    let found = scores(&spectral(&mut bed, &all, &settings));
    let off = found.minus(&of_matrix).size() / of_matrix.size();
    assert!(off < 2e-4, "{off}");
}

#[test]
fn even_walks_join_no_user_with_a_product() {
    let (mut bed, all) = bed_of(some_edges());
    let r = matrix(&bed.found, &all, Edges::Binary);
    let a = adjacency(&r);
    let two = a.times(&a);
    let three = two.times(&a);
    assert_eq!(user_product(&r, &two).size(), 0.0);
    let walks = r.times(&r.transposed()).times(&r);
    assert!(walks.size() > 0.0 && user_product(&r, &three).minus(&walks).size() < 1e-9);
    let model = |bed: &mut Bed, walk_length| {
        let settings = spectral::Settings {
            rank: 4,
            epochs: 2,
            walk_length,
            ..spectral::Settings::default()
        };
        spectral(bed, &all, &settings).map(|table| table.cells)
    };
    let one = model(&mut bed, 1);
    assert!(model(&mut bed, 2) == one && model(&mut bed, 3) != one);
}

/// Every cell counts, nothing regularizes: alternating least squares ends where subspace iteration does.
#[test]
fn als_over_all_cells_is_the_spectral_model() {
    let (mut bed, all) = bed_of(some_edges());
    let r = matrix(&bed.found, &all, Edges::Binary);
    let (_, best) = r.best(3, |value| value);
    let settings = als::Settings {
        rank: 3,
        epochs: 60,
        preset: Preset::Full,
        regularization: 0.0,
        ..als::Settings::default()
    };
    let by_als = scores(&als(&mut bed, &all, &settings));
    let settings = spectral::Settings {
        rank: 3,
        epochs: 30,
        ..spectral::Settings::default()
    };
    let by_values = scores(&spectral(&mut bed, &all, &settings));
    for (name, found) in [("als", by_als), ("spectral", by_values)] {
        let off = found.minus(&best).size() / best.size();
        assert!(off < 1e-3, "{name}: {off}");
    }
}

/// A row of an exact solve is a function of its interactions and the other table alone; which rows these are, `inspect --graph`
/// tells without a model.
#[test]
fn users_of_equal_purchases_get_one_row() {
    // Users from 100 on repeat users below 50, every third of them twice.
    let edges = some_edges();
    let again = edges.iter().map(|&(user, product)| (user + 100, product));
    let thrice = edges.iter().filter(|edge| edge.0 % 3 == 0);
    let thrice = thrice.map(|&(user, product)| (user + 200, product));
    let (mut bed, all) = bed_of(edges.iter().copied().chain(again).chain(thrice));
    let r = matrix(&bed.found, &all, Edges::Binary);
    let of = |users: &Dense, i: usize| -> Vec<u64> {
        let row = &users.cells[i * users.columns..(i + 1) * users.columns];
        row.iter().map(|x| x.to_bits()).collect()
    };
    // Who shares a row with another: by purchases, by factors.
    let sharing = |of: &dyn Fn(usize) -> Vec<u64>| -> Vec<Vec<usize>> {
        let mut groups: BTreeMap<Vec<u64>, Vec<usize>> = BTreeMap::new();
        (0..r.rows()).for_each(|i| groups.entry(of(i)).or_default().push(i));
        let mut groups: Vec<Vec<usize>> = groups.into_values().collect();
        groups.sort();
        groups
    };
    let by_purchases = sharing(&|i| of(&r, i));
    assert!(by_purchases.len() <= 50 && by_purchases.iter().all(|group| group.len() > 1));
    for (preset, solver) in [
        (Preset::Hu, Solver::Cholesky),
        (Preset::Hu, Solver::Dual),
        (Preset::Explicit, Solver::Auto),
        (Preset::Rendle, Solver::Auto),
    ] {
        let settings = als::Settings {
            rank: 6,
            epochs: 2,
            preset,
            solver,
            center: false,
            regularization: 0.1,
            ..als::Settings::default()
        };
        let [users, _] = als(&mut bed, &all, &settings);
        assert_eq!(
            sharing(&|i| of(&users, i)),
            by_purchases,
            "{preset:?} {solver:?}"
        );
    }
    let mut facts = GraphFacts::new(Input {
        user: bed.input.user.clone(),
        product: bed.input.product.clone(),
        interactions: all,
        edges: BTreeMap::new(),
    });
    bed.found.world.run(&mut facts, &exec::begin).unwrap();
    let same = facts.found().unwrap().users.same_neighbours;
    assert_eq!(
        (same.groups, same.nodes),
        (by_purchases.len() as u64, r.rows() as u64)
    );
}

/// Both minimise ½ Σ (1 − x)² over interactions + ½ α0 Σ x² over all pairs.
#[test]
fn a_linear_layer_of_learnt_rows_reaches_what_factors_reach() {
    let (mut bed, all) = bed_of(some_edges());
    let r = matrix(&bed.found, &all, Edges::Binary);
    let alpha0 = 0.2;
    let loss = |factors: &Factors| -> f64 {
        let scores = scores(factors);
        let cells = scores.cells.iter().zip(&r.cells);
        let cells = cells.map(|(x, had)| alpha0 * x * x + had * (1.0 - x) * (1.0 - x));
        0.5 * cells.sum::<f64>()
    };
    let factors = als::Settings {
        rank: 2,
        epochs: 100,
        preset: Preset::Rendle,
        alpha0: Some(alpha0),
        regularization: 0.0,
        ..als::Settings::default()
    };
    let layer = gcn::Settings {
        rank: 2,
        layers: 1,
        self_weights: SelfWeights::Free,
        epochs: 250,
        learning: Learning {
            batches: Some(1),
            alpha0: Some(alpha0),
            rate: Some(0.1),
            ..Learning::DEFAULT
        },
        regularization: 0.0,
        init_scale: 0.5,
        ..gcn::Settings::default()
    };
    let factors = loss(&als(&mut bed, &all, &factors));
    let layer = loss(&gcn(&mut bed, &all, &layer));
    let nothing = 0.5 * r.cells.iter().sum::<f64>();
    assert!(factors < 0.8 * nothing);
    let off = layer / factors - 1.0;
    assert!(off > -1e-4 && off < 0.01, "{layer} instead of {factors}");
}

/// Edges whose nodes are of few colours: a ring of eight, two of four, paths and stars.
fn structured() -> Vec<(i64, i64)> {
    let ring = (0..4).flat_map(|i| [(i, i), (i, (i + 1) % 4)]);
    let squares = [4, 6]
        .into_iter()
        .flat_map(|i| [(i, i), (i, i + 1), (i + 1, i), (i + 1, i + 1)]);
    let paths = [
        (10, 10),
        (10, 11),
        (11, 11),
        (11, 12),
        (12, 13),
        (12, 14),
        (13, 14),
        (13, 15),
    ];
    let stars = (20..24)
        .map(|user| (user, 20))
        .chain((30..33).map(|product| (30, product)));
    ring.chain(squares).chain(paths).chain(stars).collect()
}

/// A bed of edges between nodes of which the same is known.
fn alike(edges: Vec<(i64, i64)>) -> (Bed, Partitions) {
    let (mut bed, all) = bed_of(edges);
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("id", Arc::new((0..100).collect::<Int64Array>())),
        ("kind", Arc::new(StringArray::from(vec!["a node"; 100]))),
    ];
    let table = parquet_of(columns, 100);
    for mode in [Mode::User, Mode::Product] {
        bed.found.describe(mode, &table);
    }
    (bed, all)
}

fn structural(layers: u32) -> gcn::Settings {
    gcn::Settings {
        rank: 6,
        layers,
        activation: Activation::Tanh,
        self_weights: SelfWeights::Free,
        features: Features::Attributes,
        normalization: Normalization::None,
        epochs: 3,
        learning: Learning {
            batches: Some(2),
            ..Learning::DEFAULT
        },
        init_scale: 1.0,
        ..gcn::Settings::default()
    }
}

/// The colours of users and of products after rounds of refinement (Weisfeiler and Leman, 1968): nodes begin alike on their side, and
/// in each round take a colour for their own and those of their neighbours, each as often as it is there.
fn colours(r: &Dense, rounds: u32) -> [Vec<usize>; 2] {
    let mut colours = [vec![0; r.rows()], vec![0; r.columns]];
    for _ in 0..rounds {
        let refined = [0, 1].map(|side| {
            let at = |i: usize, j: usize| if side == 0 { r.at(i, j) } else { r.at(j, i) };
            let mut names = BTreeMap::new();
            let own = colours[side].iter().enumerate();
            let name = |(i, &own): (usize, &usize)| {
                let others = colours[1 - side].iter().enumerate();
                let near = others.filter(|(j, _)| at(i, *j) > 0.0);
                let mut near: Vec<usize> = near.map(|(_, &colour)| colour).collect();
                near.sort_unstable();
                let next = names.len();
                *names.entry((own, near)).or_insert(next)
            };
            own.map(name).collect()
        });
        colours = refined;
    }
    colours
}

/// The largest difference of two rows.
fn apart(table: &Dense, i: usize, j: usize) -> f64 {
    let row = |i: usize| &table.cells[i * table.columns..(i + 1) * table.columns];
    let cells = row(i).iter().zip(row(j));
    cells.map(|(x, y)| (x - y).abs()).fold(0.0, f64::max)
}

#[test]
fn nodes_of_one_colour_get_one_embedding_and_factors_of_their_own() {
    let (mut bed, all) = alike(structured());
    let r = matrix(&bed.found, &all, Edges::Binary);
    for layers in 1..=3 {
        let embeddings = gcn(&mut bed, &all, &structural(layers));
        for (table, colours) in embeddings.iter().zip(colours(&r, layers)) {
            for i in 0..colours.len() {
                for j in 0..i {
                    let apart = apart(table, i, j);
                    if colours[i] == colours[j] {
                        assert!(apart < 1e-5, "{layers} layers, {i} and {j}: {apart}");
                    } else {
                        assert!(apart > 1e-4, "{layers} layers, {i} and {j}: {apart}");
                    }
                }
            }
        }
    }
    let settings = als::Settings {
        rank: 6,
        preset: Preset::Rendle,
        ..als::Settings::default()
    };
    let [users, _] = als(&mut bed, &all, &settings);
    let [colours, _] = colours(&r, 3);
    let purchases = |i: usize| &r.cells[i * r.columns..(i + 1) * r.columns];
    let mut other = 0;
    for i in 0..colours.len() {
        for j in (0..i).filter(|&j| colours[i] == colours[j] && purchases(i) != purchases(j)) {
            assert!(apart(&users, i, j) > 1e-4, "{i} and {j}");
            other += 1;
        }
    }
    // Every user of the rings but one of a square and its twin.
    assert!(other >= 20, "{other}");
}

/// Two products have two buyers each, who buy nothing else or something more.
#[test]
fn two_layers_tell_apart_what_one_cannot() {
    let edges = [(0, 0), (1, 0), (2, 1), (3, 1), (2, 2), (3, 3)];
    let (mut bed, all) = alike(edges.to_vec());
    let r = matrix(&bed.found, &all, Edges::Binary);
    let buyers = |product: &usize| {
        (0..r.rows())
            .filter(|&user| r.at(user, *product) > 0.0)
            .count()
    };
    let both: Vec<usize> = (0..r.columns)
        .filter(|product| buyers(product) == 2)
        .collect();
    let [_, one] = gcn(&mut bed, &all, &structural(1));
    let [_, two] = gcn(&mut bed, &all, &structural(2));
    assert!(apart(&one, both[0], both[1]) < 1e-6);
    assert!(apart(&two, both[0], both[1]) > 1e-2);
}
